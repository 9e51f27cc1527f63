"""Operators to kernels: `fused_kernels` (the values), `rules` (ONNX Runtime's own fusions as data), `truths` (what the runtime really fused)."""

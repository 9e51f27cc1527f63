"""Operators to kernels: `rules` (ONNX Runtime's own fusions, in its order) over `rule_tables` (as data), `truths` (what the runtime really fused).

`fused_kernels` are the values, `kernel_names` what people call them; `flows`, `patterns`, `chains` and `layouts` are the machinery of the rules.
"""

"""Fitting latency models of kernels."""

"""Fitting and judging classifiers of fused edges."""

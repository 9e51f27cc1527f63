"""GPUs as published: what each model has, and what a MIG, MPS or time-sliced share of it has."""

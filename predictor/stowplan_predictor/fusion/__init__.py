"""Operators to kernels.

`rules` (ONNX Runtime's own fusions, in its order) over `rule_tables` (as data); `flows`, `patterns`, `chains`, `products` and `layouts` are their machinery.
`classifier_inputs`, `groupings` and `serving`: the same by a learned classifier of edges; `tables` says which one a bundle serves.
`partitions` makes `fused_kernels` of groups, `kernel_names` is what people call them.
`truths` is what the runtime really fused, read off its nodes (`runtime_nodes`, `node_types`).
"""

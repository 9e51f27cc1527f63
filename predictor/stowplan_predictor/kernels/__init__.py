"""How long kernels take on a slice: `resources` of the slice, `workloads` of kernels, `rooflines`, `features`, `regressors`, their sum (`latencies`),
the quota of a fractional slice (`throttles`), how far a device is from those measured (`distances`) and how sure all this is (`intervals`).
"""

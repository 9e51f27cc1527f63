"""How long kernels take on a slice: `resources` of the slice; what kernels are made of (`workloads` from `geometries`, `layouts` and `subgraphs`), `rooflines`
and `features`; the models (`estimators` over `members`, held within the measured `ranges`); their sum (`latencies`), the quota of a fractional slice
(`throttles`), how far a device is from those measured (`distances`) and how sure all this is (`intervals`).
"""

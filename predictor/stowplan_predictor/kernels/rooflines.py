"""The least time physics allows a kernel on a slice.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures", CACM 52(4), 2009.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.kernels.workloads import Workloads

# A kernel that moves nothing and computes nothing still has a time to take the logarithm of: one nanosecond, less than any clock here resolves.
_LEAST_MS: Final = 1e-6


def roofline_ms(work: Workloads, slice_: SliceResources) -> NDArray[np.float64]:
    """max(FLOPs / FLOP/s, bytes / bandwidth) of every kernel, in milliseconds, while the slice is not throttled."""
    compute = work.column("flops") / slice_.flops_per_second
    traffic = work.bytes / slice_.bandwidth_bytes_per_second
    return np.maximum(1000.0 * np.maximum(compute, traffic), _LEAST_MS)

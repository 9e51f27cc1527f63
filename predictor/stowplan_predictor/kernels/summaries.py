"""A network on a slice as one row of numbers: what the sum over its kernels does not say about the run as a whole.

How many kernels there are and how long a typical one takes, what kinds hold the time, how weights and working sets lie against the caches, and how sure the
kernel model is. A correction of the sum and the width of the interval are learned from these.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.kernels.workloads import Workloads

# Shares of time by kernel type: those that hold most of the time of published networks. Others are left to the share of heavy kernels.
_SHARES: Final = ("Conv", "PointwiseConv", "DepthwiseConv", "GroupedConv", "Gemm", "MatMul", "Softmax", "LayerNormalization", "Transpose")
SUMMARY: Final = (
    "log_ms", "log_kernels", "log_mean_kernel_ms", "log_largest_share", "heavy_share", *(f"share_{name}" for name in _SHARES),
    "log_parameters_over_l2", "log_parameters_over_l3", "log_largest_traffic_over_l2", "log_largest_traffic_over_l3", "log_intensity_over_ridge",
    "mean_log_ratio", "log_threads", "log_share_of_cores", "extrapolated_share", "mean_spread", "mean_error_log",
)  # fmt: skip
# Kernels that compute more than this for a byte are matrix-like: element-wise kernels and reductions of single precision stay below
# (at most some tens of operations, as in an exponential, on at least eight bytes).
HEAVY_FLOPS_PER_BYTE: Final = 4.0


def heavy(work: Workloads) -> NDArray[np.bool_]:
    """(kernels,): which are matrix-like; the others are bound by memory."""
    return np.asarray(work.column("flops") > HEAVY_FLOPS_PER_BYTE * work.bytes)


def summary(work: Workloads, slice_: SliceResources, efficiencies: Efficiencies, kernel_ms: NDArray[np.float64]) -> NDArray[np.float32]:
    """(len(SUMMARY),) of a network on a slice.

    Args:
        work: its kernels.
        slice_: where they run.
        efficiencies: of those kernels there.
        kernel_ms: their predicted times; all above zero.
    """
    total = float(kernel_ms.sum())
    share = kernel_ms / total
    types = np.array(work.types)
    parameters, traffic = max(1.0, float(work.column("parameter_bytes").sum())), float(np.maximum(work.bytes, 1.0).max())
    l2, l3 = float(max(slice_.l2_bytes * slice_.threads, 1)), float(max(slice_.l3_bytes, 1))
    intensity = max(1.0, float(work.column("flops").sum())) / max(1.0, float(work.bytes.sum()))
    numbers = [
        np.log(total),
        np.log(len(kernel_ms)),
        np.log(total / len(kernel_ms)),
        np.log(share.max()),
        share[heavy(work)].sum(),
        *(share[types == name].sum() for name in _SHARES),
        np.log(parameters / l2),
        np.log(parameters / l3),
        np.log(traffic / l2),
        np.log(traffic / l3),
        np.log(intensity) - np.log(slice_.flops_per_second / slice_.bandwidth_bytes_per_second),
        share @ efficiencies.log_ratio,
        np.log(slice_.threads),
        np.log(slice_.share),
        share @ efficiencies.extrapolated,
        share @ efficiencies.spread,
        share @ efficiencies.error_log,
    ]
    return np.array(numbers, dtype=np.float32)

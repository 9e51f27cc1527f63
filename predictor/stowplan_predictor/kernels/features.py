"""Features of a kernel on a slice: logarithms of work, of shape, and of work against what the slice has.

Everything about the device enters as a ratio (work against throughput, working set against caches), so that a regressor that saw one device
says something sensible about another.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.kernels.rooflines import roofline_ms
from stowplan_predictor.kernels.workloads import Workloads

# Floats of one 64-byte cache line, the width of an AVX-512 register: blocked kernels round channels up to this.
_LANES: Final = 16

FEATURES: Final = (
    "log_flops", "log_bytes", "log_input_bytes", "log_output_bytes", "log_parameter_bytes", "log_m", "log_n", "log_k", "log_groups", "log_window",
    "log_stride", "log_operators", "log_inputs", "log_item_bytes", "log_lane_waste", "log_intensity", "log_roofline_ms", "log_intensity_over_ridge",
    "log_bytes_over_l2", "log_parameters_over_l2", "log_bytes_over_l3", "log_threads",
    "log_chunk", "log_columns_per_group", "log_group_lane_waste", "log_input_channels", "log_input_over_output",
)  # fmt: skip


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm; counts and sizes below one (an absent parameter, a cache that is not there) count as one."""
    return np.log(np.maximum(values, 1.0))


def _lane_waste(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of how much longer a row gets when it is filled up to whole vectors."""
    return np.asarray(np.log(np.ceil(columns / _LANES) * _LANES / columns))


def feature_matrix(work: Workloads, slice_: SliceResources) -> NDArray[np.float32]:
    """(kernels, len(FEATURES)), in the order of FEATURES, in the single precision in which regressors are trained and run."""
    traffic = work.bytes
    columns = work.column("n")
    intensity = np.log(np.maximum(work.column("flops"), 1.0) / np.maximum(traffic, 1.0))
    l2 = float(max(slice_.l2_bytes * slice_.threads, 1))
    l3 = float(max(slice_.l3_bytes, 1))
    per_group = np.maximum(columns / np.maximum(work.column("groups"), 1.0), 1.0)
    rows = [
        _log(work.column("flops")),
        _log(traffic),
        _log(work.column("input_bytes")),
        _log(work.column("output_bytes")),
        _log(work.column("parameter_bytes")),
        _log(work.column("m")),
        _log(columns),
        _log(work.column("k")),
        _log(work.column("groups")),
        _log(work.column("window")),
        _log(work.column("stride")),
        _log(work.column("operators")),
        _log(work.column("inputs")),
        _log(work.column("item_bytes")),
        _lane_waste(np.maximum(columns, 1.0)),
        intensity,
        np.log(roofline_ms(work, slice_)),
        intensity - np.log(slice_.flops_per_second / slice_.bandwidth_bytes_per_second),
        np.log(np.maximum(traffic, 1.0) / l2),
        np.log(np.maximum(work.column("parameter_bytes"), 1.0) / l2),
        np.log(np.maximum(traffic, 1.0) / l3),
        np.full(len(work.types), np.log(slice_.threads)),
        _log(work.column("chunk")),
        np.log(per_group),
        _lane_waste(per_group),
        _log(work.column("k") / np.maximum(work.column("window"), 1.0)),
        _log(work.column("input_bytes")) - _log(work.column("output_bytes")),
    ]
    return np.column_stack(rows).astype(np.float32).reshape(len(work.types), len(FEATURES))

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

Column = NDArray[np.float64]

# Floats of one 64-byte cache line, the width of an AVX-512 register: blocked kernels round channels up to this.
_LANES: Final = 16
# Blocks of output channels that a blocked convolution works on together, and rows that a matrix product does (MLAS, AVX-512).
_FILTER_SET: Final = 4
_ROWS_AT_ONCE: Final = 12

FEATURES: Final = (
    "log_flops", "log_bytes", "log_input_bytes", "log_output_bytes", "log_parameter_bytes", "log_m", "log_n", "log_k", "log_groups", "log_window",
    "log_stride", "log_operators", "log_inputs", "log_item_bytes", "log_lane_waste", "log_intensity", "log_roofline_ms", "log_intensity_over_ridge",
    "log_bytes_over_l2", "log_parameters_over_l2", "log_bytes_over_l3", "log_threads",
    "log_chunk", "log_columns_per_group", "log_group_lane_waste", "log_input_channels", "log_input_over_output",
    "log_outputs", "log_transcendentals_an_element", "constant_right", "turns", "leaves", "log_batch", "log_rows_a_product", "log_row_waste",
    "log_dilation", "log_width", "log_steps", "log_run", "log_inner", "axes", "mode", "blocked", "plain_input", "log_input_lane_waste",
    "log_filter_waste", "log_reorder_over_bytes", "log_reuse_over_l2", "log_reuse_over_l3", "log_network_over_l2", "log_network_over_l3",
    "log_work_a_thread", "log_output_a_thread",
)  # fmt: skip


def _log(values: Column) -> Column:
    """Natural logarithm; counts and sizes below one (an absent parameter, a cache that is not there) count as one."""
    return np.asarray(np.log(np.maximum(values, 1.0)))


def _waste(counts: Column, together: int) -> Column:
    """Logarithm of how much more is done when counts are filled up to whole groups."""
    own = np.maximum(counts, 1.0)
    return np.asarray(np.log(np.ceil(own / together) * together / own))


def _work(work: Workloads, slice_: SliceResources) -> list[Column]:
    traffic = work.bytes
    intensity = np.log(np.maximum(work.column("flops"), 1.0) / np.maximum(traffic, 1.0))
    columns = work.column("n")
    return [
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
        _waste(columns, _LANES),
        intensity,
        np.log(roofline_ms(work, slice_)),
        intensity - np.log(slice_.flops_per_second / slice_.bandwidth_bytes_per_second),
    ]


def _caches(work: Workloads, slice_: SliceResources) -> list[Column]:
    l2 = float(max(slice_.l2_bytes * slice_.threads, 1))
    l3 = float(max(slice_.l3_bytes, 1))
    return [
        np.log(np.maximum(work.bytes, 1.0) / l2),
        np.log(np.maximum(work.column("parameter_bytes"), 1.0) / l2),
        np.log(np.maximum(work.bytes, 1.0) / l3),
        np.full(len(work.types), np.log(slice_.threads)),
    ]


def _shapes(work: Workloads) -> list[Column]:
    per_group = np.maximum(work.column("n") / np.maximum(work.column("groups"), 1.0), 1.0)
    return [
        _log(work.column("chunk")),
        np.log(per_group),
        _waste(per_group, _LANES),
        _log(work.column("k") / np.maximum(work.column("window"), 1.0)),
        _log(work.column("input_bytes")) - _log(work.column("output_bytes")),
    ]


def _insides(work: Workloads) -> list[Column]:
    elements = np.maximum(work.column("m") * work.column("n"), 1.0)
    rows = np.maximum(work.column("m") / np.maximum(work.column("batch"), 1.0), 1.0)
    inputs = np.floor(work.column("k") / np.maximum(work.column("window"), 1.0))
    blocks = np.ceil(np.maximum(work.column("n") / np.maximum(work.column("groups"), 1.0), 1.0) / _LANES)
    return [
        _log(work.column("outputs")),
        np.log1p(work.column("transcendentals") / elements),
        work.column("constant_right"),
        work.column("turns"),
        work.column("leaves"),
        _log(work.column("batch")),
        np.log(rows),
        _waste(rows, _ROWS_AT_ONCE),
        _log(work.column("dilation")),
        _log(work.column("width")),
        _log(work.column("steps")),
        _log(work.column("run")),
        _log(work.column("inner")),
        work.column("axes"),
        work.column("mode"),
        work.column("blocked"),
        work.column("plain_input"),
        _waste(inputs, _LANES) * work.column("blocked") * (1 - work.column("plain_input")),
        _waste(blocks, _FILTER_SET) * work.column("blocked"),
        np.log1p((work.column("reorder_in_bytes") + work.column("reorder_out_bytes")) / np.maximum(work.bytes, 1.0)),
    ]


def _places(work: Workloads, slice_: SliceResources) -> list[Column]:
    """How cold inputs and parameters are, and how much there is for each thread."""
    l2 = float(max(slice_.l2_bytes * slice_.threads, 1))
    l3 = float(max(slice_.l3_bytes, 1))
    reuse, network = np.maximum(work.column("reuse_bytes"), 1.0), np.maximum(work.column("network_bytes"), 1.0)
    return [
        np.log(reuse / l2),
        np.log(reuse / l3),
        np.log(network / l2),
        np.log(network / l3),
        _log(work.column("flops") / slice_.threads),
        _log(work.column("output_bytes") / slice_.threads),
    ]


def feature_matrix(work: Workloads, slice_: SliceResources) -> NDArray[np.float32]:
    """(kernels, len(FEATURES)), in the order of FEATURES, in the single precision in which regressors are trained and run."""
    rows = [*_work(work, slice_), *_caches(work, slice_), *_shapes(work), *_insides(work), *_places(work, slice_)]
    return np.column_stack(rows).astype(np.float32).reshape(len(work.types), len(FEATURES))

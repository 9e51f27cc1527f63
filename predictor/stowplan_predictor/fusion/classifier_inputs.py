"""Classifier inputs: a graph's live operators and the edges between them, as numbers a classifier of edges can read.

What an operator is: its type (one column each), its sizes and work (as the fusion paper's table 1 lists them), and what ONNX Runtime's transformers look at:
channels against blocks, shapes of its constants, where its axes point, who else reads its result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.fusion.layouts import is_scale
from stowplan_predictor.graphs.opgraphs import Operator

# Columns beside the operator types.
OPERATOR_FEATURES: Final = (
    "unknown_type", "log_input_bytes", "log_output_bytes", "log_parameter_bytes", "log_flops",
    "activations", "parameters", "readers", "read_once", "is_output", "outputs", "rank", "is_float",
    "same_shape", "same_inputs", "constant_is_scalar", "constant_is_channels", "constant_is_last", "constant_is_whole",
    "kernel_is_one", "strided", "depthwise", "grouped", "channels_fill_blocks", "inputs_fill_blocks", "channels_in_fours", "constant_weight",
    "axis_is_channels", "axis_is_last", "swaps_last", "channels_last", "zero_first_axes", "copies",
)  # fmt: skip
EDGE_FEATURES: Final = ("slot_first", "slot_second", "only_reader", "same_shape", "rules_fuse")


@dataclass(frozen=True, slots=True)
class ClassifierInputs:
    """One graph, ready for a classifier."""

    nodes: NDArray[np.float32]
    """(live operators, OPERATOR_FEATURES + operator types)"""
    edges: NDArray[np.int64]
    """(2, edges), rows of `nodes`: writer, reader."""
    links: NDArray[np.float32]
    """(edges, EDGE_FEATURES)"""
    operators: tuple[int, ...]
    """Index of the operator that each row of `nodes` describes."""


def live_edges(flow: Flow) -> list[tuple[int, int, str]]:
    """Edges between live operators past eliminated ones, ascending: writer, reader, the tensor between them."""
    found: dict[tuple[int, int], str] = {}
    for op in flow.operators():
        for name in flow.inputs(op):
            writer = flow.producer_index(name)
            if writer >= 0:
                found.setdefault((writer, op.index), name)
    return [(*pair, found[pair]) for pair in sorted(found)]


def classifier_inputs(flow: Flow, types: Sequence[str], channel_block: int) -> ClassifierInputs:
    """Numbers for a graph.

    Args:
        flow: the graph after eliminations, its groups as the rules formed them.
        types: operator types that have a column.
        channel_block: channels in a block of the runtime's blocked layout.
    """
    columns = {name: len(OPERATOR_FEATURES) + place for place, name in enumerate(types)}
    live = list(flow.operators())
    rows = {op.index: row for row, op in enumerate(live)}
    nodes = np.zeros((len(live), len(OPERATOR_FEATURES) + len(types)), dtype=np.float32)
    for row, op in enumerate(live):
        nodes[row, : len(OPERATOR_FEATURES)] = _operator(flow, op, op.op_type not in columns, channel_block)
        if op.op_type in columns:
            nodes[row, columns[op.op_type]] = 1.0
    edges = live_edges(flow)
    ends = np.array([[rows[writer] for writer, _, _ in edges], [rows[reader] for _, reader, _ in edges]], dtype=np.int64).reshape(2, len(edges))
    links = np.array([_link(flow, *edge) for edge in edges], dtype=np.float32).reshape(len(edges), len(EDGE_FEATURES))
    return ClassifierInputs(nodes, ends, links, tuple(op.index for op in live))


def _link(flow: Flow, writer: int, reader: int, name: str) -> tuple[float, ...]:
    op = flow.graph.operators[reader]
    inputs = flow.inputs(op)
    same = bool(op.outputs[0]) and flow.shape(name) == flow.shape(op.outputs[0])
    second = len(inputs) > 1 and inputs[1] == name
    fused = flow.groups[writer] is flow.groups[reader]
    return float(inputs[0] == name), float(second), float(flow.private(name)), float(same), float(fused)


def _log(number: float) -> float:
    return math.log1p(number)


def _operator(flow: Flow, op: Operator, unknown: bool, block: int) -> tuple[float, ...]:  # noqa: FBT001 - a column
    inputs, activations = flow.inputs(op), flow.activations(op)
    constants = [flow.shape(name) for name in inputs if flow.parameter(name)]
    output = next((name for name in op.outputs if name), "")
    shape = flow.shape(output) if output else ()
    first = flow.shape(activations[0]) if activations else ()
    readers = len(flow.readers.get(output, ()))
    dtype = flow.graph.tensors[output].dtype if output else ""
    return (
        unknown, _log(op.input_bytes), _log(op.output_bytes), _log(op.parameter_bytes), _log(op.flops),
        len(activations), len(constants), _log(readers), readers == 1, output in flow.outputs, len(op.outputs), len(shape), dtype == "float32",
        shape == first, len({flow.shape(name) for name in activations}) == 1,
        any(math.prod(item) == 1 for item in constants), is_scale(flow, op) or _per_channel(constants, shape),
        any(len(item) == 1 and item == shape[-1:] for item in constants), any(item == shape for item in constants),
        *_convolution(flow, op, shape, block), *_axes(op, shape, first),
    )  # fmt: skip


def _per_channel(constants: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and any((1,) * (len(shape) - len(item)) + item == (1, shape[1], *(1 for _ in shape[2:])) for item in constants)


def _convolution(flow: Flow, op: Operator, shape: tuple[int, ...], block: int) -> tuple[float, ...]:
    """Shape of a window, and channels against blocks (of any tensor with channels)."""
    weight = flow.shape(flow.inputs(op)[1]) if op.op_type == "Conv" and len(flow.inputs(op)) > 1 else ()
    groups = op.attributes.get("group", 1)
    strides = op.attributes.get("strides", ())
    channels = shape[1] if len(shape) > 1 else 0
    inputs = weight[1] if len(weight) > 1 else channels
    second = flow.inputs(op)[1:2]
    return (
        len(weight) > 2 and all(size == 1 for size in weight[2:]), isinstance(strides, tuple) and any(float(item) > 1 for item in strides),
        isinstance(groups, int) and groups > 1 and inputs == 1, isinstance(groups, int) and groups > 1 and inputs > 1,
        channels > 0 and channels % block == 0, inputs > 0 and inputs % block == 0, channels > 0 and channels % 4 == 0,
        bool(second) and flow.parameter(second[0]),
    )  # fmt: skip


def _axes(op: Operator, shape: tuple[int, ...], first: tuple[int, ...]) -> tuple[float, ...]:
    axis, order = op.attributes.get("axis"), op.attributes.get("perm", ())
    rank = max(len(shape), len(first))
    order = order if isinstance(order, tuple) else ()
    resize = op.op_type in {"Resize", "Upsample"} and op.attributes.get("mode", "nearest") == "nearest"
    copies = resize and len(first) == len(shape) and all(old and new % old == 0 for old, new in zip(first, shape, strict=True))
    return (
        axis == 1, isinstance(axis, int) and axis in (-1, rank - 1), len(order) > 1 and order == (*range(len(order) - 2), len(order) - 1, len(order) - 2),
        order == (0, 2, 3, 1), len(order) > 1 and order[0] == 0, copies,
    )  # fmt: skip

"""Sub-graphs: the operators inside each kernel and the tensors between them, as arrays that a graph network reads.

Nothing of device or slice is in here, so that one set of arrays serves all slices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.graphs.opgraphs import Operator, OpGraph
from stowplan_predictor.kernels.moves import integers

# Trailing dimensions of the output that a node shows; products of images have four, attention four or five.
_DIMENSIONS: Final = 5
NODES: Final = (
    "log_flops", "log_input_bytes", "log_output_bytes", "log_parameter_bytes", "log_dim_1", "log_dim_2", "log_dim_3", "log_dim_4", "log_dim_5",
    "log_second_elements", "second_is_parameter", "log_window_height", "log_window_width", "log_stride", "log_groups", "log_dilation",
    "axis_from_the_end", "turned_left", "turned_right", "item_bytes", "inputs", "anchor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SubGraphs:
    """The inside of all kernels of one graph."""

    types: tuple[str, ...]
    """Operator types, `Conv` or `Gelu/com.microsoft`, one a node."""
    nodes: NDArray[np.float32]
    """(nodes, len(NODES))"""
    owner: NDArray[np.int64]
    """Index of the kernel each node is in, ascending."""
    edges: NDArray[np.int64]
    """(2, edges): both directions of each tensor inside a kernel, kernel after kernel."""


def _log(value: float) -> float:
    return log(max(value, 1.0))


def _number(operator: Operator, name: str, default: int = 0) -> int:
    value = operator.attributes.get(name, default)
    return value if isinstance(value, int) else default


def _node(graph: OpGraph, operator: Operator, *, anchor: bool) -> tuple[float, ...]:
    output = graph.tensors[next(name for name in operator.outputs if name)]
    inputs = [graph.tensors[name] for name in operator.inputs if name]
    second = inputs[1] if len(inputs) > 1 else None
    window = integers(operator, "kernel_shape")
    if not window and second is not None and "Conv" in operator.op_type:
        window = second.shape[2:]
    sizes = (1,) * _DIMENSIONS + output.shape
    strides, dilations = integers(operator, "strides"), integers(operator, "dilations")
    rank = max(len(output.shape), 1)
    permutation = integers(operator, "perm")
    axis = _number(operator, "axis", -1)
    return (
        _log(operator.flops),
        _log(operator.input_bytes),
        _log(operator.output_bytes),
        _log(operator.parameter_bytes),
        *(_log(size) for size in sizes[-_DIMENSIONS:]),
        _log(second.elements if second is not None else 1),
        float(second is not None and second.parameter),
        _log(window[0] if window else 1),
        _log(window[-1] if window else 1),
        _log(max(strides, default=1)),
        _log(_number(operator, "group", 1)),
        _log(max(dilations, default=1)),
        float(rank - axis if axis >= 0 else -axis),
        float(_number(operator, "transA") or (len(permutation) > 1 and permutation[-1] != len(permutation) - 1)),
        float(_number(operator, "transB")),
        float(output.item_bytes),
        float(len(inputs)),
        float(anchor),
    )


def subgraphs(graph: OpGraph, kernels: Sequence[Kernel]) -> SubGraphs:
    """The inside of some kernels of a graph."""
    members = [(kernel.index, index, index == kernel.anchor) for kernel in kernels for index in kernel.operators if any(graph.operators[index].outputs)]
    place = {index: position for position, (_, index, _) in enumerate(members)}
    home = {index: owner for owner, index, _ in members}
    pairs = sorted((place[a], place[b]) for a, b in graph.edges if a in place and b in place and home[a] == home[b])
    pairs.sort(key=lambda pair: members[pair[0]][0])
    both = [way for a, b in pairs for way in ((a, b), (b, a))]
    operators = [graph.operators[index] for _, index, _ in members]
    return SubGraphs(
        types=tuple(f"{op.op_type}/{op.domain}" if op.domain not in ("", "ai.onnx") else op.op_type for op in operators),
        nodes=np.array([_node(graph, op, anchor=member[2]) for op, member in zip(operators, members, strict=True)], dtype=np.float32).reshape(-1, len(NODES)),
        owner=np.array([owner for owner, _, _ in members], dtype=np.int64),
        edges=np.array(both, dtype=np.int64).reshape(-1, 2).T.copy(),
    )


@dataclass(frozen=True, slots=True)
class Joined:
    """The different sub-graphs of several graphs as one disjoint graph: what is alike is there once."""

    operators: tuple[str, ...]
    """Operator type of each node."""
    nodes: NDArray[np.float32]
    """(nodes, len(NODES))"""
    owner: NDArray[np.int64]
    """Index of the sub-graph each node is in, ascending."""
    edges: NDArray[np.int64]
    """(2, edges)"""
    count: int
    """Sub-graphs."""
    places: tuple[NDArray[np.int64], ...]
    """For each graph: the sub-graph of each of its kernels."""


def join(graphs: Sequence[SubGraphs], kernels: Sequence[int]) -> Joined:
    """Joins graphs, each with its number of kernels; kernels with the same insides share one sub-graph."""
    known: dict[object, int] = {}
    operators: list[str] = []
    nodes: list[NDArray[np.float32]] = []
    edges: list[NDArray[np.int64]] = []
    sizes: list[int] = []
    places = []
    for graph, count in zip(graphs, kernels, strict=True):
        bounds = np.searchsorted(graph.owner, np.arange(count + 1))
        cuts = np.searchsorted(graph.owner[graph.edges[0]], np.arange(count + 1))
        found = np.empty(count, dtype=np.int64)
        for kernel in range(count):
            low, high = bounds[kernel], bounds[kernel + 1]
            inside = graph.edges[:, cuts[kernel] : cuts[kernel + 1]] - low
            key = (graph.types[low:high], graph.nodes[low:high].tobytes(), inside.tobytes())
            number = known.setdefault(key, len(known))
            found[kernel] = number
            if number == len(sizes):
                operators.extend(graph.types[low:high])
                nodes.append(graph.nodes[low:high])
                edges.append(inside + len(operators) - (high - low))
                sizes.append(int(high - low))
        places.append(found)
    return Joined(
        operators=tuple(operators),
        nodes=np.concatenate(nodes) if nodes else np.zeros((0, len(NODES)), dtype=np.float32),
        owner=np.repeat(np.arange(len(sizes), dtype=np.int64), np.array(sizes, dtype=np.int64)),
        edges=np.concatenate(edges, axis=1) if edges else np.zeros((2, 0), dtype=np.int64),
        count=len(sizes),
        places=tuple(places),
    )

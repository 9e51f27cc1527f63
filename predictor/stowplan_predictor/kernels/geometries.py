"""Geometries: the lengths and counts inside a kernel's main operator that decide how well a CPU runs it.

Everything is read off shapes and attributes. A kernel is seen as `groups` products of an m x k with a k x n matrix, which is what convolutions, matrix
products and (with k = 1, or the reduced length) element-wise kernels and reductions come down to; windows, runs and moves are beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Final

from stowplan_predictor.graphs.opgraphs import Operator, OpGraph, Tensor
from stowplan_predictor.kernels.contractions import contraction
from stowplan_predictor.kernels.moves import Shape, integers, moves, permuted

# Output positions that MLAS's blocked convolution works on at once (`ProcessOutputCountN` of its AVX2 and AVX-512 kernels); those at the edge,
# whose window leaves the image, it takes one by one.
_AT_ONCE: Final = 6
_MODES: Final[Mapping[str, int]] = {"nearest": 1, "linear": 2, "cubic": 3, "constant": 1, "reflect": 2, "edge": 3}
_REDUCTIONS: Final = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "ReduceSumSquare", "ReduceLogSumExp", "ArgMax", "ArgMin")


@dataclass(frozen=True, slots=True)
class Geometry:
    """Counts, 1 where one does not apply."""

    m: float
    """Rows of all products together."""
    n: float
    """Columns: output channels of convolutions and pools, the last dimension of everything else."""
    k: float
    """Multiply-adds an output element."""
    groups: float
    batch: float
    """Products with right-hand sides of their own."""
    window: float
    stride: float
    dilation: float
    width: float
    """Output positions in a row, for what slides a window."""
    steps: float
    """Turns that a blocked convolution takes for a row, over what it would take were every turn full."""
    chunk: float
    """Elements that lie together in memory and are worked on together: what a transpose leaves in place, what lies behind an axis, else a row."""
    run: float
    """Elements between two jumps in memory: the shortest that an operand is read or written in one piece."""
    inner: float
    """Elements behind the axis that an operator works along: 1 where it works along the last."""
    axes: float
    """What a transpose really permutes, once ones are dropped and neighbours that stay together are joined."""
    mode: float
    """Of a resize or a padding; 1 elsewhere."""


def _axis(operator: Operator, rank: int) -> int | None:
    axis = operator.attributes.get("axis", -1 if operator.op_type in ("Softmax", "LogSoftmax") else None)
    return axis % rank if isinstance(axis, int) and rank and -rank <= axis < rank else None


def _edges(operator: Operator, source: Shape, width: int, window: Shape) -> int:
    """Output positions of a row whose window leaves the image."""
    stride = (integers(operator, "strides") or (1,))[-1]
    reach = ((integers(operator, "dilations") or (1,))[-1]) * (window[-1] - 1) + 1
    pads = integers(operator, "pads")
    auto = str(operator.attributes.get("auto_pad", "NOTSET"))
    missing = max((width - 1) * stride + reach - source[-1], 0)
    left = pads[len(pads) // 2 - 1] if pads else (missing + (auto == "SAME_LOWER")) // 2 if auto.startswith("SAME") else 0
    before = min(width, ceil(left / stride))
    inside = (source[-1] - reach + left) // stride + 1
    return min(width, before + max(0, width - max(inside, before)))


def _windowed(operator: Operator, source: Shape, output: Shape, window: Shape) -> tuple[float, float]:
    """Width of a row, and how much longer it takes than were every turn full."""
    if prod(window) == 1:
        positions = prod(output[2:])
        return float(output[-1]), ceil(positions / _AT_ONCE) * _AT_ONCE / max(1, positions)
    edges = _edges(operator, source, output[-1], window)
    turns = edges + ceil((output[-1] - edges) / _AT_ONCE)
    return float(output[-1]), turns * _AT_ONCE / max(1, output[-1])


def _inner(operator: Operator, source: Shape, output: Shape) -> int:
    if operator.op_type in _REDUCTIONS:
        return source[-1] if output and source and output[-1] == source[-1] else 1
    axis = _axis(operator, len(output))
    return 1 if axis is None else prod(output[axis + 1 :])


def _products(operator: Operator, output: Shape, other: Tensor | None) -> int:
    if operator.op_type == "MatMul" and other is not None and prod(other.shape[:-2]) > 1:
        return max(1, prod(output[:-2]))
    return 1


def _contracted(operator: Operator, shapes: tuple[Shape, ...], otherwise: Geometry) -> Geometry:
    """Of an Einsum that is a batch of matrix products."""
    found = contraction(str(operator.attributes.get("equation", "")), shapes)
    if found is None:
        return otherwise
    moved = [permuted(*move) for move in found.moves]
    return replace(
        otherwise,
        m=found.batch * found.rows,
        n=found.columns,
        k=found.summed,
        batch=found.batch,
        run=min(run for run, _ in moved),
        axes=max(axes for _, axes in moved),
    )


def geometry(graph: OpGraph, operator: Operator) -> Geometry:
    """Of one operator that has an output."""
    output = graph.tensors[next(name for name in operator.outputs if name)].shape
    tensors = [graph.tensors[name] for name in operator.inputs if name]
    source = tensors[0].shape if tensors else ()
    elements = max(1, prod(output))
    # Channels of convolutions and poolings are the second dimension (ONNX is channels-first); columns of everything else are the last.
    slides = ("Conv" in operator.op_type or "Pool" in operator.op_type) and len(output) > 2 and len(source) == len(output)
    columns = max(1, output[1] if slides else (output[-1] if output else 1))
    other = tensors[1] if len(tensors) > 1 else None
    weight = other.shape[2:] if other is not None and "Conv" in operator.op_type else ()
    window = integers(operator, "kernel_shape") or (weight if slides else ())
    group = operator.attributes.get("group", 1)
    width, steps = _windowed(operator, source, output, window) if slides and window else (1.0, 1.0)
    axis = _axis(operator, len(output))
    run, axes = moves(operator, source, output, tuple(tensor.shape for tensor in tensors))
    behind = columns if axis is None else prod(output[axis:])
    found = Geometry(
        m=elements / columns,
        n=columns,
        k=operator.flops / (2 * elements),
        groups=group if isinstance(group, int) else 1,
        batch=_products(operator, output, other),
        window=prod(window),
        stride=prod(integers(operator, "strides")),
        dilation=max(integers(operator, "dilations"), default=1),
        width=width,
        steps=steps,
        chunk=run if operator.op_type == "Transpose" else behind,
        run=run,
        inner=_inner(operator, source, output),
        axes=axes,
        mode=_MODES.get(str(operator.attributes.get("mode", "")), 1),
    )
    return _contracted(operator, tuple(tensor.shape for tensor in tensors), found) if operator.op_type == "Einsum" else found

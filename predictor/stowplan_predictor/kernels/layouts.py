"""Layouts: which kernels ONNX Runtime runs on blocks of channels (NCHWc), and what it copies to get there and back.

Rules re-told from `core/optimizer/nchwc_transformer.cc` (ONNX Runtime, MIT). A tensor is blocked where the kernel that writes it runs on blocks.
A blocked kernel that reads another one copies it first (`ReorderInput`, once a tensor); a blocked tensor that any other kernel or the caller reads is copied
back (`ReorderOutput`, once a tensor). Both copies are counted with a kernel: the first with its first blocked reader, the second with its writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.graphs.opgraphs import Operator, OpGraph

# MLAS reorders channels in fours (`channel_alignment`): other counts stay in NCHW.
_ALIGNMENT: Final = 4
_POOLS: Final = frozenset({"MaxPool", "AveragePool"})
_BINARY: Final = frozenset({"Add", "Sum", "Mul"})
# Kernel types that hand on blocks where all they read is blocked.
_FOLLOWERS: Final = frozenset({"Relu", "Sigmoid", "Tanh", "Gelu", "QuickGelu", "BatchNormalization", "GlobalAveragePool", "GlobalMaxPool"})


@dataclass(frozen=True, slots=True)
class Layout:
    """How one kernel runs."""

    blocked: bool = False
    """On blocks of channels."""
    plain_input: bool = False
    """A blocked convolution that reads NCHW as it is: fewer input channels than a block has."""
    reorder_in_bytes: int = 0
    """Copied into blocks before it."""
    reorder_out_bytes: int = 0
    """Copied back behind it."""


def _blocked_convolution(graph: OpGraph, op: Operator, block: int) -> bool:
    weight = graph.tensors[op.inputs[1]] if len(op.inputs) > 1 else None
    if weight is None or not weight.parameter or weight.dtype != "float32" or len(weight.shape) != 4:
        return False
    groups = op.attributes.get("group", 1)
    outputs, inputs = weight.shape[:2]
    if not isinstance(groups, int) or groups == 1:
        return inputs < block or inputs % _ALIGNMENT == 0
    if inputs == 1 and outputs == groups:
        return outputs % _ALIGNMENT == 0
    return inputs % block == 0 and (outputs // groups) % block == 0


def _scales(graph: OpGraph, op: Operator, channels: int) -> bool:
    """A multiplication by one parameter a channel, which becomes a convolution."""
    parameters = [graph.tensors[name] for name in op.inputs if name and graph.tensors[name].parameter]
    return op.op_type == "Mul" and len(parameters) == 1 and parameters[0].elements == channels and parameters[0].shape[-2:] == (1, 1)


def _follows(graph: OpGraph, kernel: Kernel, shape: tuple[int, ...], block: int) -> bool:
    """Whether a kernel that reads nothing but blocks works on them."""
    op = graph.operators[kernel.anchor]
    if op.op_type == "Concat":
        return op.attributes.get("axis") in (1, -3) and all(graph.tensors[name].shape[1] % block == 0 for name in kernel.inputs)
    if op.op_type in _BINARY and len(kernel.inputs) > 1:
        return all(graph.tensors[name].shape == shape for name in kernel.inputs)
    if op.op_type == "Resize":
        return op.attributes.get("mode", "nearest") in ("nearest", "linear")
    return kernel.type in _FOLLOWERS or _scales(graph, op, shape[1])


def _blocked(graph: OpGraph, kernel: Kernel, sources: Sequence[bool], block: int) -> bool:
    """Whether a kernel runs on blocks, given whether what it reads is blocked."""
    op = graph.operators[kernel.anchor]
    output = next((name for name in op.outputs if name), "")
    shape = graph.tensors[output].shape if output else ()
    if op.op_type == "Conv":
        return _blocked_convolution(graph, op, block)
    if len(shape) != 4 or not sources:
        return False
    if op.op_type in _POOLS:
        return shape[1] % block == 0 and not any(op.outputs[1:])
    return all(sources) and _follows(graph, kernel, shape, block)


def _reads_plain(graph: OpGraph, op: Operator, block: int) -> bool:
    if op.op_type != "Conv":
        return False
    groups = op.attributes.get("group", 1)
    return groups == 1 and graph.tensors[op.inputs[1]].shape[1] < block


def kernel_layouts(graph: OpGraph, kernels: Sequence[Kernel], channel_block: int) -> tuple[Layout, ...]:
    """The layout of every kernel of a graph, in their order.

    Args:
        graph: its operators.
        kernels: a partition of them, in topological order.
        channel_block: channels in a block on the machine that runs it.
    """
    home = {operator: kernel.index for kernel in kernels for operator in kernel.operators}
    blocked: list[bool] = []
    plain: list[bool] = []
    reorders_in = [0] * len(kernels)
    reorders_out = [0] * len(kernels)
    copied: set[str] = set()
    for kernel in kernels:
        sources = [name in graph.producers and blocked[home[graph.producers[name]]] for name in kernel.inputs]
        runs_blocked = _blocked(graph, kernel, sources, channel_block)
        reads_plain = runs_blocked and _reads_plain(graph, graph.operators[kernel.anchor], channel_block)
        for name, is_blocked in zip(kernel.inputs, sources, strict=True):
            crosses = is_blocked != (runs_blocked and not reads_plain)
            if crosses and name not in copied:
                copied.add(name)
                target = reorders_out if is_blocked else reorders_in
                target[home[graph.producers[name]] if is_blocked else kernel.index] += graph.tensors[name].bytes
        blocked.append(runs_blocked)
        plain.append(reads_plain)
    for name in graph.outputs:
        if name in graph.producers and blocked[home[graph.producers[name]]] and name not in copied:
            copied.add(name)
            reorders_out[home[graph.producers[name]]] += graph.tensors[name].bytes
    return tuple(Layout(*parts) for parts in zip(blocked, plain, reorders_in, reorders_out, strict=True))

"""What kernels ask of any device: plain numbers per kernel, taken from the graph once and kept instead of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.fusion import kernel_names
from stowplan_predictor.fusion.fused_kernels import Kernel, KernelType
from stowplan_predictor.graphs.opgraphs import Operator, OpGraph

Matrix = NDArray[np.float64]

# Columns of `Workloads.numbers`. A kernel is seen as `groups` products of an m x k with a k x n matrix, which is what convolutions, matrix products
# and (with k = 1, or the reduced length) element-wise kernels and reductions come down to.
COLUMNS: Final = (
    "flops", "input_bytes", "output_bytes", "parameter_bytes", "m", "n", "k", "groups", "window", "stride", "operators", "inputs", "item_bytes",
    "chunk",
)  # fmt: skip
_AT: Final = {name: position for position, name in enumerate(COLUMNS)}


@dataclass(frozen=True, slots=True)
class Workloads:
    """The kernels of one graph, in topological order."""

    types: tuple[KernelType, ...]
    names: tuple[str, ...]
    """What a person calls each kernel."""
    numbers: Matrix
    """(kernels, len(COLUMNS))."""

    def column(self, name: str) -> NDArray[np.float64]:
        """One number of every kernel."""
        return self.numbers[:, _AT[name]]

    @property
    def bytes(self) -> NDArray[np.float64]:
        """Least memory traffic of every kernel: everything read and written once."""
        return self.column("input_bytes") + self.column("output_bytes") + self.column("parameter_bytes")


def _integers(operator: Operator, name: str) -> tuple[int, ...]:
    value = operator.attributes.get(name)
    return tuple(item for item in value if isinstance(item, int)) if isinstance(value, tuple) else ()


def _chunk(anchor: Operator, output: tuple[int, ...], columns: int) -> int:
    """Elements that lie together in memory and are worked on together: what a transpose leaves in place, what lies behind an axis, else a row."""
    permutation = _integers(anchor, "perm")
    if anchor.op_type == "Transpose" and len(permutation) == len(output):
        kept = 0
        while kept < len(output) and permutation[-1 - kept] == len(output) - 1 - kept:
            kept += 1
        return prod(output[len(output) - kept :])
    axis = anchor.attributes.get("axis")
    if isinstance(axis, int) and -len(output) <= axis < len(output):
        return prod(output[axis:]) if axis >= 0 else prod(output[len(output) + axis :])
    return columns


def _numbers(graph: OpGraph, kernel: Kernel) -> tuple[float, ...]:
    anchor = graph.operators[kernel.anchor]
    output = graph.tensors[next(name for name in anchor.outputs if name)]
    elements = max(1, output.elements)
    # Channels of convolutions and poolings are the second dimension (ONNX is channels-first); columns of everything else are the last.
    spatial = "Conv" in anchor.op_type or "Pool" in anchor.op_type
    columns = output.shape[1] if spatial and len(output.shape) > 2 else (output.shape[-1] if output.shape else 1)
    weight = graph.tensors.get(anchor.inputs[1]) if "Conv" in anchor.op_type and len(anchor.inputs) > 1 else None
    window = _integers(anchor, "kernel_shape") or (weight.shape[2:] if weight is not None else ())
    group = anchor.attributes.get("group", 1)
    return (
        kernel.flops,
        kernel.input_bytes,
        kernel.output_bytes,
        kernel.parameter_bytes,
        elements / max(1, columns),
        columns,
        anchor.flops / (2 * elements),
        group if isinstance(group, int) else 1,
        prod(window),
        prod(_integers(anchor, "strides")),
        len(kernel.operators),
        len(kernel.inputs),
        output.item_bytes,
        _chunk(anchor, output.shape, columns),
    )


def workloads(graph: OpGraph, kernels: Sequence[Kernel]) -> Workloads:
    """The numbers of every kernel of a graph."""
    return Workloads(
        types=tuple(kernel.type for kernel in kernels),
        names=tuple(kernel_names.kernel_name(graph, kernel) for kernel in kernels),
        numbers=np.array([_numbers(graph, kernel) for kernel in kernels], dtype=np.float64).reshape(len(kernels), len(COLUMNS)),
    )

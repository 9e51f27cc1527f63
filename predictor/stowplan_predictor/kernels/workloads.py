"""What kernels ask of any device: plain numbers per kernel and the insides of kernels, taken from the graph once and kept instead of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.fusion import kernel_names
from stowplan_predictor.fusion.fused_kernels import Kernel, KernelType
from stowplan_predictor.graphs.opgraphs import OpGraph
from stowplan_predictor.kernels.geometries import Geometry, geometry
from stowplan_predictor.kernels.layouts import Layout, kernel_layouts
from stowplan_predictor.kernels.subgraphs import SubGraphs, subgraphs

Matrix = NDArray[np.float64]

# Channels in a block where the machine has AVX-512, as the machines measured so far do.
CHANNEL_BLOCK: Final = 16
# Columns of `Workloads.numbers`: costs, the fields of `Geometry`, then how the kernel stands among the others.
COLUMNS: Final = (
    "flops", "input_bytes", "output_bytes", "parameter_bytes", "operators", "inputs", "outputs", "item_bytes", "transcendentals", "constant_right",
    "turns", "leaves",
    "m", "n", "k", "groups", "batch", "window", "stride", "dilation", "width", "steps", "chunk", "run", "inner", "axes", "mode",
    "blocked", "plain_input", "reorder_in_bytes", "reorder_out_bytes", "reuse_bytes", "network_bytes",
)  # fmt: skip
_GEOMETRY: Final = attrgetter(*(field.name for field in fields(Geometry)))
_AT: Final = {name: position for position, name in enumerate(COLUMNS)}
# Operators that compute an exponential or the like for each element: tens of operations where others take one.
_TRANSCENDENTAL: Final = frozenset(
    {"Exp", "Erf", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Log", "Pow", "Softplus", "Elu", "Selu", "Mish", "Sin", "Cos", "Gelu", "QuickGelu", "FastGelu"}
)


@dataclass(frozen=True, slots=True)
class Workloads:
    """The kernels of one graph, in topological order."""

    types: tuple[KernelType, ...]
    names: tuple[str, ...]
    """What a person calls each kernel."""
    numbers: Matrix
    """(kernels, len(COLUMNS))."""
    subgraphs: SubGraphs

    def column(self, name: str) -> NDArray[np.float64]:
        """One number of every kernel."""
        return self.numbers[:, _AT[name]]

    def without_copies(self) -> "Workloads":
        """As if nothing had to be copied into blocks of channels and back: what a kernel measured on its own, less those copies, is."""
        numbers = self.numbers.copy()
        numbers[:, [_AT["reorder_in_bytes"], _AT["reorder_out_bytes"]]] = 0.0
        return replace(self, numbers=numbers)

    @property
    def bytes(self) -> NDArray[np.float64]:
        """Least memory traffic of every kernel: everything read and written once."""
        return self.column("input_bytes") + self.column("output_bytes") + self.column("parameter_bytes")


def _reuse_bytes(graph: OpGraph, kernels: Sequence[Kernel]) -> list[int]:
    """What was touched since the oldest input of each kernel was written: beyond a cache's size, it has to come from farther away."""
    home = {operator: kernel.index for kernel in kernels for operator in kernel.operators}
    touched, found = [0], []
    for kernel in kernels:
        writers = [home[graph.producers[name]] if name in graph.producers else -1 for name in kernel.inputs]
        found.append(touched[-1] - touched[min(writers) + 1] + kernel.input_bytes if writers else 0)
        touched.append(touched[-1] + kernel.bytes)
    return found


def _numbers(graph: OpGraph, kernel: Kernel, layout: Layout, reuse_bytes: int, network_bytes: int) -> tuple[float, ...]:
    anchor = graph.operators[kernel.anchor]
    inside = [graph.operators[index] for index in kernel.operators]
    second = graph.tensors.get(anchor.inputs[1]) if len(anchor.inputs) > 1 else None
    return (
        kernel.flops,
        kernel.input_bytes,
        kernel.output_bytes,
        kernel.parameter_bytes,
        len(kernel.operators),
        len(kernel.inputs),
        len(kernel.outputs),
        graph.tensors[next(name for name in anchor.outputs if name)].item_bytes,
        sum(graph.tensors[op.outputs[0]].elements for op in inside if op.op_type in _TRANSCENDENTAL and op.outputs[0]),
        float(second is not None and second.parameter),
        sum(op.op_type == "Transpose" for op in inside if op is not anchor),
        float(any(name in graph.outputs for name in kernel.outputs)),
        *_GEOMETRY(geometry(graph, anchor)),
        float(layout.blocked),
        float(layout.plain_input),
        layout.reorder_in_bytes,
        layout.reorder_out_bytes,
        reuse_bytes,
        network_bytes,
    )


def _type(graph: OpGraph, kernel: Kernel) -> KernelType:
    """The kernel's type; resizes by mode, whose costs an element differ a hundredfold (cubic ones are computed point by point)."""
    anchor = graph.operators[kernel.anchor]
    mode = str(anchor.attributes.get("mode", "nearest"))
    return KernelType(f"{mode.capitalize()}Resize") if anchor.op_type == "Resize" and mode != "linear" else kernel.type


def workloads(graph: OpGraph, kernels: Sequence[Kernel], channel_block: int = CHANNEL_BLOCK) -> Workloads:
    """The numbers and the insides of every kernel of a graph.

    Args:
        graph: its operators.
        kernels: a partition of them, in topological order.
        channel_block: channels in a block on the machine that runs it.
    """
    network_bytes = graph.parameter_bytes + max((kernel.input_bytes + kernel.output_bytes for kernel in kernels), default=0)
    parts = zip(kernels, kernel_layouts(graph, kernels, channel_block), _reuse_bytes(graph, kernels), strict=True)
    return Workloads(
        types=tuple(_type(graph, kernel) for kernel in kernels),
        names=tuple(kernel_names.kernel_name(graph, kernel) for kernel in kernels),
        numbers=np.array([_numbers(graph, *part, network_bytes) for part in parts], dtype=np.float64).reshape(len(kernels), len(COLUMNS)),
        subgraphs=subgraphs(graph, kernels),
    )

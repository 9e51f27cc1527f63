"""Kernel names: what a person calls a kernel, such as `Conv+BatchNormalization+Relu conv1`."""

from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.graphs.opgraphs import OpGraph

# Longer lists of operators than this are given by the kernel's type: a name shall fit a terminal's column.
_MOST_OPERATORS = 4


def kernel_name(graph: OpGraph, kernel: Kernel) -> str:
    """The kernel's operators in order and where its anchor stands in the model.

    A run of one operator type is counted (`3xSlice`); more than four different ones are named by the kernel's type.
    """
    types = [graph.operators[index].op_type for index in kernel.operators]
    runs: list[tuple[str, int]] = []
    for op_type in types:
        if runs and runs[-1][0] == op_type:
            runs[-1] = (op_type, runs[-1][1] + 1)
        else:
            runs.append((op_type, 1))
    what = "+".join(op_type if count == 1 else f"{count}x{op_type}" for op_type, count in runs) if len(runs) <= _MOST_OPERATORS else str(kernel.type)
    return f"{what} {kernel_place(graph, kernel)}".rstrip()


def kernel_place(graph: OpGraph, kernel: Kernel) -> str:
    """The anchor's node name without its own operator type at the end; its first output's name where the node has none."""
    anchor = graph.operators[kernel.anchor]
    name = anchor.name or next((output for output in anchor.outputs if output), "")
    head, _, tail = name.rpartition("/")
    return (head if head and tail.startswith(anchor.op_type) else name).strip("/")

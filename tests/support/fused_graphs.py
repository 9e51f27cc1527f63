"""Operator graphs and the kernels that our rules make of them, in few words."""

from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.fusion.rules import fuse
from stowplan_predictor.graphs.opgraphs import OpGraph
from support.opgraphs import GraphMaker


def shapes(graph: OpGraph) -> list[str]:
    """Kernels as `Conv+Relu`, in order."""
    return ["+".join(graph.operators[index].op_type for index in kernel.operators) for kernel in fuse(graph)]


def only(graph: OpGraph) -> Kernel:
    """The one kernel of a graph."""
    (kernel,) = fuse(graph)
    return kernel


def gelu(make: GraphMaker, source: str) -> str:
    """The exact Gelu as torch exports it."""
    erf = make.op("Erf", make.op("Div", source, make.parameter()))
    return make.op("Mul", make.op("Mul", source, make.op("Add", erf, make.parameter())), make.parameter())

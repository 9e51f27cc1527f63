"""Rules: from operators to the kernels that ONNX Runtime 1.31 runs on CPU at ORT_ENABLE_ALL.

The passes below are the runtime's graph transformers in the runtime's order; the data they work from is in `rule_tables`. What the runtime inserts of its own
(reorders between layouts, reshapes around a Gemm, transposes it moves) has no operator here: its cost lies with the kernels beside it. What it does because of
values (it merges convolutions whose weights are equal, drops a multiplication by one) is not seen: a graph holds no weights.
"""

from collections.abc import Iterable
from typing import Final

from stowplan_predictor.fusion import chains, layouts, partitions, patterns, products, rule_tables
from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.fusion.patterns import Expression
from stowplan_predictor.graphs.opgraphs import OpGraph

# Operators of PyTorch that ONNX had no word for at first.
_TAKEN_APART: Final = frozenset({"Gelu", "LayerNormalization"})


def fuse(graph: OpGraph, channel_block: int = layouts.CHANNEL_BLOCK) -> tuple[Kernel, ...]:
    """Kernels in topological order; every operator belongs to exactly one.

    Args:
        graph: operators in topological order, shapes bound.
        channel_block: channels in a block of the runtime's blocked layout on that machine (16 with AVX-512, 8 with AVX2).
    """
    return partitions.kernels(grouped(graph, channel_block))


def grouped(graph: OpGraph, channel_block: int = layouts.CHANNEL_BLOCK) -> Flow:
    """The graph's operators in the groups that the rules put them in."""
    flow = Flow(graph)
    chains.fold_into_convolutions(flow)
    products.bias_into_products(flow)
    chains.activate(flow, channel_block)
    _match_patterns(flow, rule_tables.PATTERNS)
    chains.split_siblings(flow)
    products.transpose_into_products(flow)
    chains.skip_into_normalizations(flow)
    products.scale_products(flow)
    layouts.fuse_blocked(flow, channel_block)
    return flow


def unfused(graph: OpGraph) -> tuple[Kernel, ...]:
    """A kernel an operator, as PyTorch runs them without its compiler. What an exporter took apart there is one operator again: Gelu, LayerNormalization."""
    flow = Flow(graph)
    _match_patterns(flow, [(kernel_type, expression) for kernel_type, expression in rule_tables.PATTERNS if kernel_type in _TAKEN_APART])
    return partitions.kernels(flow)


def _match_patterns(flow: Flow, known: Iterable[tuple[str, Expression]]) -> None:
    for kernel_type, expression in known:
        last = str(expression[0])
        for op in flow.operators():
            if op.op_type != last:
                continue
            match = patterns.find(flow, expression, op)
            if match is None:
                continue
            first, *rest = match.operators
            group = flow.groups[first]
            for index in rest:
                flow.join(group, flow.graph.operators[index])
            group.type, group.anchor = kernel_type, op.index

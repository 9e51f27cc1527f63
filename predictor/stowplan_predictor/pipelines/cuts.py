"""Cuts: the ways in which the bundles at hand cut a graph into kernels. A graph is read once and cut in all of them.

Kernels differ between runtimes, and between machines whose runtime blocks channels differently (16 with AVX-512, 8 without).
"""

import dataclasses
from collections.abc import Iterable
from typing import Final

from stowplan_predictor.fusion import layouts, tables
from stowplan_predictor.fusion.serving import FusionSource, open_fusion
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.graphs.opgraphs import Operator, OpGraph, Tensor
from stowplan_predictor.kernels.workloads import Workloads, workloads

# With AVX-512 and without, the more usual one first.
_BLOCKS: Final = tuple(dict.fromkeys((layouts.CHANNEL_BLOCK, layouts.channel_block(()))))
RULES: Final = (FusionSource(FusionTable.rules()),)
"""What ONNX Runtime does on CPUs."""


def cut_name(source: FusionSource, channel_block: int) -> str:
    """What the kernels of a fusion are called; where nothing is fused no layout matters."""
    return source.key if source.table.system == tables.OPERATORS else f"{source.key}/{channel_block}"


class Cuts:
    """Some fusions, opened. Thread-safe."""

    def __init__(self, sources: Iterable[FusionSource] = RULES) -> None:
        """Opens them.

        Args:
            sources: of all bundles, the one that counts a graph's kernels for its summary first.

        Raises:
            ValueError: one is not usable.
        """
        different = {source.key: source for source in sources}
        self._cuts = {cut_name(source, block): (open_fusion(source), block) for source in different.values() for block in _BLOCKS}

    def works(self, graph: OpGraph) -> dict[str, Workloads]:
        """The kernels of a graph, by the names of the cuts."""
        named = first_outputs_named(graph)
        return {name: workloads(graph, fusion.kernels(named, block), block) for name, (fusion, block) in self._cuts.items()}


def first_outputs_named(graph: OpGraph) -> OpGraph:
    """The graph, with a name for first outputs that nobody reads (of a TopK of which only the places are used, say).

    Fusions look at the shape of an operator's first output. Such a one gets that of the first that is read; bytes and FLOPs stay as they are.
    """
    tensors, operators, changed = dict(graph.tensors), [], False
    for op in graph.operators:
        if op.outputs and not op.outputs[0]:
            op, changed = _named(op, tensors), True  # noqa: PLW2901 -- the operator from here on
        operators.append(op)
    return dataclasses.replace(graph, operators=tuple(operators), tensors=tensors) if changed else graph


def _named(op: Operator, tensors: dict[str, Tensor]) -> Operator:
    read = next(tensors[name] for name in op.outputs if name)
    name = f"unread {op.index}"
    while name in tensors:
        name += "'"
    tensors[name] = dataclasses.replace(read, name=name)
    return dataclasses.replace(op, outputs=(name, *op.outputs[1:]))

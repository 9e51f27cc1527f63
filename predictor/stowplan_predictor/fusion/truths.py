"""Fusion truths: what ONNX Runtime really fused, read off the optimised model that it saves.

`runtime_nodes` says which operators each node of the saved model does the work of. An edge whose ends one node does together is fused, one between two nodes is
apart; where an end is done by nobody (folded, merged with an equal, changed nothing) the edge is labelled apart from both and judged by no one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import onnx
from google.protobuf.message import DecodeError

from stowplan_predictor.errors import ModelUnreadable
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.fusion.runtime_nodes import Matching
from stowplan_predictor.graphs.opgraphs import OpGraph


class EdgeTruth(StrEnum):
    """What became of an edge."""

    FUSED = "fused"
    APART = "apart"
    ELIMINATED = "eliminated"
    """One of its ends does no work any more: folded, merged with an equal one, moved elsewhere, or a value (a factor of one) made it pointless."""
    UNMATCHED = "unmatched"
    """The optimised graph does not say."""


@dataclass(frozen=True)
class FusionTruth:
    """What the runtime made of a graph."""

    edges: Mapping[tuple[int, int], EdgeTruth]
    """By edge of the operator graph."""
    owners: Mapping[str, int]
    """Operator that a runtime node does the work of, by the runtime node's name (inserted nodes: whom they serve). Names that are not unique are left out."""
    unmatched_nodes: tuple[str, ...]
    """Runtime nodes, `<type> <name>`, that belong to no operator."""
    runtime_nodes: int
    kernels: frozenset[frozenset[int]]
    """Operators that one runtime node does together, for each node that does any."""

    @property
    def match_rate(self) -> float:
        """Share of the edges that the optimised graph says something about."""
        unmatched = sum(truth is EdgeTruth.UNMATCHED for truth in self.edges.values())
        return 1.0 - unmatched / len(self.edges) if self.edges else 1.0

    @cached_property
    def judged(self) -> Mapping[tuple[int, int], bool]:
        """True for fused, by edge; eliminated and unmatched ones left out."""
        return {edge: truth is EdgeTruth.FUSED for edge, truth in self.edges.items() if truth in {EdgeTruth.FUSED, EdgeTruth.APART}}

    def agreement(self, kernels: tuple[Kernel, ...]) -> float:
        """Share of the judged edges that kernels fuse as the runtime did; 1 where none can be judged."""
        return 1.0 - len(self.disagreements(kernels)) / len(self.judged) if self.judged else 1.0

    def disagreements(self, kernels: tuple[Kernel, ...]) -> list[tuple[int, int]]:
        """Judged edges that kernels treat otherwise than the runtime did."""
        home = {index: kernel.index for kernel in kernels for index in kernel.operators}
        return [edge for edge, fused in self.judged.items() if (home[edge[0]] == home[edge[1]]) != fused]

    def recovered(self, kernels: tuple[Kernel, ...]) -> int:
        """How many of the runtime's kernels were predicted whole: the same operators, no more and no fewer, those left out that do no work."""
        working = frozenset[int]().union(*self.kernels)
        return len(self.kernels & {working.intersection(kernel.operators) for kernel in kernels})


def read_truth(graph: OpGraph, optimized_model: bytes) -> FusionTruth:
    """Compares a graph with the model that ONNX Runtime saved for it (`SessionOptions.optimized_model_filepath`, ORT_ENABLE_ALL).

    Raises:
        ModelUnreadable: the optimised model is not an ONNX file.
    """
    try:
        nodes = list(onnx.load_model_from_string(optimized_model).graph.node)
    except (DecodeError, ValueError) as error:
        raise ModelUnreadable(f"the optimised model is not an ONNX file ({error}): let ONNX Runtime save it again") from error
    matching = Matching(graph, nodes)
    edges = {edge: _truth(matching, edge) for edge in graph.edges}
    return FusionTruth(edges, matching.owners(), matching.unmatched_nodes(), len(nodes), _kernels(matching))


def _kernels(matching: Matching) -> frozenset[frozenset[int]]:
    found: dict[int, set[int]] = {}
    for index, positions in matching.workers.items():
        for position in positions:
            found.setdefault(position, set()).add(index)
    return frozenset(frozenset(operators) for operators in found.values())


def _truth(matching: Matching, edge: tuple[int, int]) -> EdgeTruth:
    left, right = edge
    if any(index in matching.flow.owner for index in edge):
        return EdgeTruth.ELIMINATED
    idle = [index for index in edge if not matching.workers.get(index)]
    if idle:
        return EdgeTruth.ELIMINATED if all(matching.may_vanish(index) for index in idle) else EdgeTruth.UNMATCHED
    operators = matching.graph.operators
    if any(name in matching.written for name in operators[right].inputs if name in operators[left].outputs):
        return EdgeTruth.APART
    return EdgeTruth.FUSED if matching.workers[left] & matching.workers[right] else EdgeTruth.APART

"""Budgets: what one walk over a graph has spent of its limits. What is small in a file may be huge once functions and branches are inlined."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from stowplan_predictor.errors import GraphTooLarge
from stowplan_predictor.graphs.facts import Array
from stowplan_predictor.graphs.limits import Limits


@dataclass(slots=True)
class Budget:
    """Of one walk. Every method refuses by `GraphTooLarge` where its limit is passed."""

    limits: Limits
    nodes: int = 0
    inlined_bytes: int = 0
    folded_bytes: int = 0

    def visit(self, count: int) -> None:
        """So many nodes or initializers are looked at (again)."""
        self.nodes += count
        if self.nodes > self.limits.max_nodes:
            raise GraphTooLarge(f"model: more than {self.limits.max_nodes} nodes (functions and branches inlined); such a model is not analysed")

    def weigh(self, nodes: Sequence[NodeProto]) -> None:
        """These nodes are walked (again)."""
        self.inlined_bytes += sum(node.ByteSize() for node in nodes)
        if self.inlined_bytes > self.limits.max_inlined_bytes:
            raise GraphTooLarge(f"model: over {self.limits.max_inlined_bytes} bytes of nodes (functions and branches inlined); such a model is not analysed")

    def hold(self, values: Iterable[Array]) -> None:
        """These values were computed and are kept."""
        self.folded_bytes += sum(value.nbytes for value in values)
        if self.folded_bytes > self.limits.max_folded_bytes:
            raise GraphTooLarge(f"model: its computed constants take over {self.limits.max_folded_bytes} bytes; such a model is not analysed")

"""Serving: the fusion that a bundle names, from an operator graph to kernels."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from stowplan_predictor.fusion import rules, tables
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.graphs.opgraphs import OpGraph


class Fusion(Protocol):
    """A way to cut graphs into kernels. Thread-safe."""

    def kernels(self, graph: OpGraph, channel_block: int) -> tuple[Kernel, ...]:
        """Kernels in topological order; every operator belongs to exactly one.

        Args:
            graph: operators in topological order, shapes bound.
            channel_block: channels in a block of the runtime's blocked layout on that machine (`layouts.channel_block`).
        """


class RuleFusion:
    """By rules."""

    def kernels(self, graph: OpGraph, channel_block: int) -> tuple[Kernel, ...]:
        """See `Fusion`."""
        return rules.fuse(graph, channel_block)


class OperatorFusion:
    """A kernel an operator."""

    def kernels(self, graph: OpGraph, channel_block: int) -> tuple[Kernel, ...]:  # noqa: ARG002 - no layout is blocked
        """See `Fusion`."""
        return rules.unfused(graph)


@dataclass(frozen=True, slots=True)
class FusionSource:
    """A fusion as a bundle carries it: plain values, so that it can be handed to another process."""

    table: FusionTable
    content: bytes = b""
    """Of the table's file; empty where it names none."""

    @property
    def key(self) -> str:
        """Same for fusions that are the same."""
        return f"{self.table.system}-{hashlib.sha256(self.content).hexdigest()[:16]}" if self.content else self.table.system


def open_fusion(source: FusionSource) -> Fusion:
    """The fusion that a bundle names.

    Raises:
        ValueError: this version cannot use it.
    """
    table = source.table
    if table.system == tables.RULES:
        return RuleFusion()
    if table.system == tables.OPERATORS:
        return OperatorFusion()
    if table.system not in tables.LEARNED or not source.content:
        raise ValueError(f"fusion {table.system!r} with the file {table.file!r}: not one that this version knows, or the file is missing")
    # A process that cuts by rules alone needs no ONNX Runtime, and none of its memory.
    from stowplan_predictor.fusion.classifiers import LearnedFusion  # noqa: PLC0415

    return LearnedFusion(table, source.content)

"""Serving: the fusion that a bundle names, from an operator graph to kernels."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from stowplan_predictor.fusion import groupings, partitions, rules, tables
from stowplan_predictor.fusion.classifier_inputs import EDGE_FEATURES, OPERATOR_FEATURES, ClassifierInputs, classifier_inputs
from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.graphs.opgraphs import OpGraph

_CERTAIN: Final = 1.0


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


class LearnedFusion:
    """By a classifier of edges; groups that the rules form as well keep the rules' kernel types."""

    def __init__(self, table: FusionTable, model: bytes) -> None:
        """Opens the classifier.

        Raises:
            ValueError: it reads other columns than this version computes, or ONNX Runtime cannot open it.
        """
        if table.operator_features != OPERATOR_FEATURES or not set(table.edge_features) <= set(EDGE_FEATURES):
            raise ValueError(f"fusion {table.system}: trained with other features than this version computes")
        self._types = table.types
        self._columns = [EDGE_FEATURES.index(name) for name in table.edge_features]
        options = ort.SessionOptions()
        # The calling thread only: a serving process has its own threads.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ValueError(f"fusion {table.system}: ONNX Runtime cannot open {table.file!r}: {error}") from error

    def logits(self, inputs: ClassifierInputs) -> NDArray[np.float32]:
        """How sure the classifier is of each edge: positive for fused."""
        if not inputs.edges.shape[1]:
            return np.zeros(0, dtype=np.float32)
        feeds = {"nodes": inputs.nodes, "edges": inputs.edges, "links": inputs.links[:, self._columns]}
        return np.asarray(self._session.run(None, feeds)[0], dtype=np.float32)

    def kernels(self, graph: OpGraph, channel_block: int) -> tuple[Kernel, ...]:
        """See `Fusion`."""
        flow = rules.grouped(graph, channel_block)
        inputs = classifier_inputs(flow, self._types, channel_block)
        return learned_kernels(flow, inputs, self.logits(inputs))


def learned_kernels(flow: Flow, inputs: ClassifierInputs, logits: NDArray[np.float32]) -> tuple[Kernel, ...]:
    """Kernels of a graph, given what a classifier says of its edges.

    Args:
        flow: the graph in the groups of the rules; its groups are replaced.
        inputs: what the classifier read.
        logits: what it answered, one an edge.
    """
    edges = [(inputs.operators[writer], inputs.operators[reader]) for writer, reader in inputs.edges.T]
    fused = {edge: float(logit) for edge, logit in zip(edges, logits, strict=True) if logit > 0}
    # Slices of one tensor that are one Split have no edge between them: here the rules decide.
    for group in {id(group): group for group in flow.groups.values() if group.type == "Split"}.values():
        fused.update(dict.fromkeys(pairwise(group.members), _CERTAIN))
    groupings.regroup(flow, groupings.groups(inputs.operators, edges, fused))
    return partitions.kernels(flow)


def open_fusion(table: FusionTable, files: Mapping[str, bytes]) -> Fusion:
    """The fusion that a bundle names.

    Args:
        table: what it says.
        files: content of its files by name.

    Raises:
        ValueError: this version cannot use it.
    """
    if table.system == tables.RULES:
        return RuleFusion()
    if table.system not in {tables.GAT_LSTM, tables.GAT_MLP, tables.RULES_GAT_LSTM} or table.file not in files:
        raise ValueError(f"fusion {table.system!r} with the file {table.file!r}: not one that this version knows, or the file is missing")
    return LearnedFusion(table, files[table.file])

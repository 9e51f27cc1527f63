"""Learned fusion as it is served: a classifier of edges that ONNX Runtime runs, and kernels from what it says."""

from itertools import pairwise
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from stowplan_predictor.fusion import groupings, partitions, rules
from stowplan_predictor.fusion.classifier_inputs import EDGE_FEATURES, OPERATOR_FEATURES, ClassifierInputs, classifier_inputs
from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.graphs.opgraphs import OpGraph

_CERTAIN: Final = 1.0


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
        widths = {item.name: item.shape[-1] for item in self._session.get_inputs()}
        wanted = {"nodes": len(OPERATOR_FEATURES) + len(table.types), "links": len(table.edge_features)}
        # A width that the file leaves open fits any.
        if not wanted.keys() <= widths.keys() or any(isinstance(widths[name], int) and widths[name] != width for name, width in wanted.items()):
            raise ValueError(f"fusion {table.system}: {table.file!r} reads inputs {widths}, its table describes {wanted}")

    def logits(self, inputs: ClassifierInputs) -> NDArray[np.float32]:
        """How sure the classifier is of each edge: positive for fused."""
        if not inputs.edges.shape[1]:
            return np.zeros(0, dtype=np.float32)
        feeds = {"nodes": inputs.nodes, "edges": inputs.edges, "links": inputs.links[:, self._columns]}
        return np.asarray(self._session.run(None, feeds)[0], dtype=np.float32)

    def kernels(self, graph: OpGraph, channel_block: int) -> tuple[Kernel, ...]:
        """See `serving.Fusion`."""
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

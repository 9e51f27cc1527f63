"""Model files to the numbers that predictions need, kept by digest."""

from collections.abc import Mapping
from typing import Final

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.services import GraphDigest

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.fusion import rules
from stowplan_predictor.graphs import loading
from stowplan_predictor.kernels.workloads import Workloads, workloads
from stowplan_predictor.pipelines.caches import LruCache

# Tens of kilobytes each (the graph itself is not kept): some hundred megabytes at most, and more models than a cluster is likely to serve.
_GRAPHS: Final = 4096


class Analyses:
    """Graphs this process has seen. Thread-safe."""

    def __init__(self) -> None:
        self._work: LruCache[GraphDigest, Workloads] = LruCache(_GRAPHS)
        self._summaries: LruCache[tuple[str, tuple[tuple[str, tuple[int, ...]], ...]], GraphSummary] = LruCache(_GRAPHS)

    def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Reads a model file and remembers its kernels; the same file with the same shapes is read once.

        Raises:
            GraphRefused: the file is broken, or holds what nobody can judge.
        """
        key = (loading.model_digest(onnx_model), tuple(sorted((name, tuple(shape)) for name, shape in input_shapes.items())))
        summary = self._summaries.get(key)
        if summary is not None and self._work.get(summary.graph_digest) is not None:
            return summary
        graph = loading.load_graph(onnx_model, input_shapes)
        kernels = rules.fuse(graph)
        self._work.put(graph.digest, workloads(graph, kernels))
        summary = GraphSummary(
            graph_digest=graph.digest,
            model_digest=key[0],
            operators=len(graph.operators),
            kernels=len(kernels),
            flops=graph.flops,
            parameters=graph.parameters,
            parameter_bytes=graph.parameter_bytes,
        )
        self._summaries.put(key, summary)
        return summary

    def __len__(self) -> int:
        return len(self._work)

    def work(self, digest: GraphDigest) -> Workloads:
        """The kernels of a graph.

        Raises:
            CannotJudge: this process has not analysed it, or forgot it.
        """
        work = self._work.get(digest)
        if work is None:
            raise CannotJudge(UnknownReason.GRAPH_NOT_FOUND, f"graph {digest} was not analysed by this process; analyse it again and repeat")
        return work

"""Model files to the numbers that predictions need, kept by digest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.services import GraphDigest

from stowplan_predictor.errors import CannotJudge, GraphTooLarge, ModelUnreadable
from stowplan_predictor.fusion.serving import FusionSource
from stowplan_predictor.graphs import loading
from stowplan_predictor.graphs.limits import DEFAULT_LIMITS, Limits
from stowplan_predictor.kernels.workloads import Workloads
from stowplan_predictor.pipelines import equations
from stowplan_predictor.pipelines.caches import LruCache
from stowplan_predictor.pipelines.cuts import RULES, Cuts
from stowplan_predictor.pipelines.footprints import footprint_bytes

ModelFile = bytes | memoryview
Shapes = Mapping[str, tuple[int, ...]]
# A file with its shapes, as a key.
_FileKey = tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]
# A summary is a kilobyte with its key, unless somebody names hundreds of inputs.
_SUMMARIES_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Analysed:
    """All that is remembered of a model file with bound shapes. Plain values and arrays: it may come from another process."""

    summary: GraphSummary
    work: dict[str, Workloads]
    """By the name of the cut."""


class Analyst(Protocol):
    """Who reads model files: this process, or one that may be killed for it."""

    def __call__(self, onnx_model: ModelFile, input_shapes: Shapes) -> Analysed:
        """Reads a model file; raises GraphRefused."""


def analysed(onnx_model: ModelFile, input_shapes: Shapes, limits: Limits = DEFAULT_LIMITS, *, cuts: Cuts) -> Analysed:
    """Reads a model file in this process.

    Raises:
        GraphRefused: the file is broken, or holds what nobody can judge.
    """
    try:
        equations.check(onnx_model, limits)
        graph = loading.load_graph(onnx_model, input_shapes, limits=limits)
    except TypeError as error:
        # So ONNX's bindings refuse what does not fit into their integers, an opset of 2^40 for instance.
        raise ModelUnreadable(f"model file: a number in it is larger than ONNX can hold ({str(error).partition('(')[0]}); export it again") from error
    except UnicodeDecodeError as error:
        raise ModelUnreadable(f"model file: a name in it is no text ({error.reason}); export it again") from error
    work = cuts.works(graph)
    summary = GraphSummary(
        graph_digest=graph.digest,
        model_digest=loading.model_digest(onnx_model),
        operators=len(graph.operators),
        kernels=len(next(iter(work.values())).types),
        flops=graph.flops,
        parameters=graph.parameters,
        parameter_bytes=graph.parameter_bytes,
    )
    return Analysed(summary, work)


def reading_here(sources: Iterable[FusionSource] = RULES) -> Analyst:
    """An analyst that reads model files in this process.

    Raises:
        ValueError: a fusion is not usable.
    """
    return partial(analysed, cuts=Cuts(sources))


class Analyses:
    """Graphs this process has seen. Thread-safe."""

    def __init__(self, analyst: Analyst, graphs_bytes: int) -> None:
        """Nothing is known yet.

        Args:
            analyst: reads model files.
            graphs_bytes: memory that graphs may take together.
        """
        self._analyst = analyst
        self._work: LruCache[GraphDigest, dict[str, Workloads]] = LruCache(graphs_bytes, lambda _, work: footprint_bytes(work))
        self._summaries: LruCache[_FileKey, GraphSummary] = LruCache(_SUMMARIES_BYTES, lambda key, summary: footprint_bytes((key, summary)))

    def analyze(self, onnx_model: ModelFile, input_shapes: Shapes) -> GraphSummary:
        """Reads a model file and remembers its kernels; the same file with the same shapes is read once.

        Raises:
            GraphRefused: the file is broken, or holds what nobody can judge.
        """
        key = (loading.model_digest(onnx_model), tuple(sorted((name, tuple(shape)) for name, shape in input_shapes.items())))
        summary = self._summaries.get(key)
        if summary is not None and self._work.get(summary.graph_digest) is not None:
            return summary
        found = self._analyst(onnx_model, input_shapes)
        if not self._work.put(found.summary.graph_digest, found.work):
            raise GraphTooLarge(f"model: its {found.summary.kernels} kernels take more memory than all graphs together may; such a model is not remembered")
        self._summaries.put(key, found.summary)
        return found.summary

    def __len__(self) -> int:
        return len(self._work)

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return self._work.bytes + self._summaries.bytes

    def work(self, digest: GraphDigest, cut: str) -> Workloads:
        """The kernels of a graph, cut in one of the ways that its analyst knows.

        Raises:
            CannotJudge: this process has not analysed it, or forgot it.
        """
        work = self._work.get(digest)
        if work is None:
            raise CannotJudge(UnknownReason.GRAPH_NOT_FOUND, f"graph {digest} was not analysed by this process; analyse it again and repeat")
        return work[cut]

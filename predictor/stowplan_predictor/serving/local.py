"""The predictor without a process: the same protocol, answered in this one. For the command line."""

import asyncio
from collections.abc import Mapping, Sequence

from stowplan_fleet.answers import Answer
from stowplan_fleet.devices import Device
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Question
from stowplan_fleet.slices import DeviceName

from stowplan_predictor.pipelines import Pipeline
from stowplan_predictor.pipelines.analyses import Analyses, reading_here
from stowplan_predictor.pipelines.caches import CacheLimits
from stowplan_predictor.pipelines.judges import AnyBundle
from stowplan_predictor.serving.served import Answering


class RuntimePipelines:
    """Pipelines of several runtimes as one: a graph is read once for all of them, and each question goes to its runtime's."""

    def __init__(self, pipelines: Mapping[str, Pipeline]) -> None:
        """At least one, by runtime; a question of another runtime is answered by the first, which says that it is none of its."""
        self._pipelines = dict(pipelines)
        self._first = next(iter(self._pipelines.values()))

    def analyze(self, onnx_model: bytes | memoryview, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Reads a model and remembers it.

        Raises:
            GraphRefused: the file is broken, or holds what nobody can judge.
        """
        return self._first.analyze(onnx_model, input_shapes)

    def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> list[Answer]:
        """One answer a question, in order."""
        return self._pipelines.get(runtime, self._first).predict(questions, devices, runtime)

    def recall(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> list[Answer] | None:
        """The same answers where all of them are remembered, else None."""
        return self._pipelines.get(runtime, self._first).recall(questions, devices, runtime)

    @property
    def cache_entries(self) -> Mapping[str, int]:
        """How much the first one remembers, by kind; graphs are everybody's."""
        return self._first.cache_entries

    @property
    def cache_bytes(self) -> Mapping[str, int]:
        """About how much memory that takes, by kind."""
        return self._first.cache_bytes


def pipelines_of(bundles: Sequence[AnyBundle]) -> RuntimePipelines:
    """Pipelines of bundles that each judge another runtime, over one memory of graphs."""
    analyses = Analyses(reading_here([bundle.fusion for bundle in bundles]), CacheLimits().graphs_bytes)
    return RuntimePipelines({bundle.manifest.runtime: Pipeline(bundle, analyses) for bundle in bundles})


class LocalPredictor:
    """Implements `predictors.Predictor` over a pipeline."""

    def __init__(self, pipeline: Answering) -> None:
        self._pipeline = pipeline

    async def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Analyses a model file and remembers its graph.

        Raises:
            GraphRefused: the file is broken, or holds what nobody can judge.
        """
        return await asyncio.to_thread(self._pipeline.analyze, onnx_model, input_shapes)

    async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
        """One answer a question, in order."""
        return await asyncio.to_thread(self._pipeline.predict, questions, devices, runtime)

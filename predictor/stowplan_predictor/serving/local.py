"""The predictor without a process: the same protocol, answered in this one. For the command line."""

import asyncio
from collections.abc import Mapping, Sequence

from stowplan_fleet.answers import Answer
from stowplan_fleet.devices import Device
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Question
from stowplan_fleet.slices import DeviceName

from stowplan_predictor.serving.served import Answering


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

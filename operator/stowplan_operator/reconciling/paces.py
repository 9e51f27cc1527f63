"""Paces: how long predictions take, and a line where they take long. A slow predictor holds up ladders and nothing else, so nobody else would say it."""

import logging
from collections.abc import Mapping, Sequence
from time import monotonic

from stowplan_fleet import logs
from stowplan_fleet.answers import Answer
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import PredictorLate
from stowplan_fleet.predictors import GraphSummary, Predictors
from stowplan_fleet.questions import Question
from stowplan_fleet.slices import DeviceName

from stowplan_operator.reconciling.metrics import Metrics

logger = logging.getLogger(__name__)


class Paced:
    """Implements `predictors.Predictors` by others, and times their predictions."""

    def __init__(self, predictors: Predictors, slow_s: float, metrics: Metrics) -> None:
        """`slow_s`: a prediction that takes so long is named in the log."""
        self._predictors, self._slow_s, self._metrics = predictors, slow_s, metrics
        self._seldom = logs.Seldom()

    async def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """As `predictors.Predictor`; how long it takes depends on the model."""
        return await self._predictors.analyze(onnx_model, input_shapes)

    async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
        """As `predictors.Predictor`."""
        began_s, outcome = monotonic(), "failed"
        try:
            answers = await self._predictors.predict(questions, devices, runtime)
            outcome = "ok"
        except PredictorLate:
            outcome = "late"
            raise
        finally:
            took_s = monotonic() - began_s
            self._metrics.predictor_seconds.labels(outcome).observe(took_s)
            if took_s >= self._slow_s and self._seldom.due():
                told = {"seconds": round(took_s, 3), "outcome": outcome, "questions": len(questions), "not_told": self._seldom.left_out()}
                logger.warning("the predictor is slow", extra=told)
        return answers

    async def anywhere_forgotten(self, question: Question, devices: Mapping[DeviceName, Device], runtime: str) -> bool:
        """As `predictors.Predictors`."""
        return await self._predictors.anywhere_forgotten(question, devices, runtime)

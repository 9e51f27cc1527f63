"""A predictor over gRPC whose mood a test sets: sound, numbers that are none, another bundle. It answers by the law of `lawful_predictors`."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from stowplan.predictor.v1 import predictor_pb2 as pb
from support.lawful_predictors import BUNDLE, LawfulPredictor, serving


class MoodyPredictor(LawfulPredictor):
    """Sound unless told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.mood = "sound"
        """`sound`; `nan`, `negative`: no durations; `other runtime`: refuses the runtime."""
        self.bundle = BUNDLE
        self.delay_s = 0.0
        """How long it takes over each answer, which is right all the same."""
        self.asked = 0

    def AnalyzeGraph(self, request: pb.AnalyzeGraphRequest, context: grpc.ServicerContext) -> pb.AnalyzeGraphResponse:  # noqa: N802 -- named by the proto
        """As usual, in its own time."""
        time.sleep(self.delay_s)
        return super().AnalyzeGraph(request, context)

    def Predict(self, request: pb.PredictRequest, context: grpc.ServicerContext) -> pb.PredictResponse:  # noqa: N802 -- named by the proto
        """Applies the law, and then the mood."""
        self.asked += 1
        time.sleep(self.delay_s)
        found = super().Predict(request, context)
        found.bundle = self.bundle
        for answer in found.answers:
            self._spoil(answer)
        return found

    def _spoil(self, answer: pb.Answer) -> None:
        if self.mood == "other runtime":
            answer.CopyFrom(pb.Answer(basis=pb.BASIS_UNKNOWN, unknown_reason=pb.UNKNOWN_REASON_RUNTIME_NOT_SUPPORTED, message="a bundle for another runtime"))
        elif self.mood in {"nan", "negative"}:
            number = math.nan if self.mood == "nan" else -1.0
            answer.response.CopyFrom(pb.LatencyInterval(median_ms=number, lower_ms=number, upper_ms=number, coverage=0.9))


@contextmanager
def serve_moody(port: int) -> Iterator[MoodyPredictor]:
    """Serves on a loopback port."""
    servicer = MoodyPredictor()
    with serving(port, servicer):
        yield servicer

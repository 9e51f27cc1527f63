"""A pipeline that answers what a test tells it, for tests of what stands around pipelines."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason, unknown
from stowplan_fleet.clients import BundleDescription
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName
from stowplan_predictor.errors import GraphTooLarge
from stowplan_predictor.serving.served import Served

BUNDLE = BundleDescription("told", "sha256:00", "onnxruntime-cpu", '{"name": "told"}')


def answer_of(median_ms: float) -> Answer:
    """A sound answer around a duration."""
    interval = LatencyInterval(median_ms, median_ms * 0.9, median_ms * 1.1, 0.9)
    return Answer(Basis.MEASURED, isolated=interval, colocated=interval, response=interval, utilization=0.1, bundle="told@sha256:00")


@dataclass
class ToldPipeline:
    """Knows a graph after it was analysed; its digest is the file's text. Files that start with `bad` or `large` are refused."""

    judge: Callable[[Question], Answer] = lambda _: answer_of(5.0)
    hold: threading.Event | None = None
    """Predictions wait for it."""
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released whenever a prediction begins."""
    known: set[GraphDigest] = field(default_factory=set)

    def analyze(self, onnx_model: bytes | memoryview, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Remembers the file."""
        onnx_model = bytes(onnx_model)
        if onnx_model.startswith(b"bad"):
            raise GraphRefused("operator Frobnicate is not known; shapes " + str(dict(input_shapes)))
        if onnx_model.startswith(b"large"):
            raise GraphTooLarge("more operators than accepted")
        digest = GraphDigest("sha256:" + onnx_model[:16].hex())
        self.known.add(digest)
        return GraphSummary(digest, "sha256:file", 1, 1, 10, 2, 8)

    def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> list[Answer]:  # noqa: ARG002 - the protocol's
        """What `judge` says of each question about a known graph."""
        self.begun.release()
        if self.hold is not None:
            self.hold.wait(30)
        if runtime != BUNDLE.runtime:
            return [unknown(UnknownReason.RUNTIME_NOT_SUPPORTED, runtime) for _ in questions]
        return [self.judge(item) if item.subject.graph_digest in self.known else unknown(UnknownReason.GRAPH_NOT_FOUND, "") for item in questions]

    def recall(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> None:
        """Nothing: every question reaches `predict`."""

    @property
    def cache_entries(self) -> Mapping[str, int]:
        """How many graphs it knows."""
        return {"graphs": len(self.known)}

    @property
    def cache_bytes(self) -> Mapping[str, int]:
        """Their digests."""
        return {"graphs": sum(map(len, self.known))}


def told(pipeline: ToldPipeline) -> dict[str, Served]:
    """That pipeline, as a server opens it."""
    return {BUNDLE.runtime: Served(pipeline, BUNDLE)}

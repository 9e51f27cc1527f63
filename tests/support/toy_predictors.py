"""A predictor with a law of its own, for tests and speed benches. It judges nothing real: no accuracy figure may rest on it.

The law: a graph is so many milliseconds of work on one core. On a slice of c cores (any other slice counts as one core) it takes

    service = work / c * (1 + 0.25 * known tenants + 0.10 * cores of unknown tenants)    utilization = requests per second * service / 1000
    response (any percentile) = service * (1 + 3 * utilization)                          interval: 0.9 to 1.2 times the median

Its answers are measured, but for graphs that it was told to judge on another basis.
A graph it was not told of is GraphNotFound; a device that is not among those sent along is DeviceNotDescribed.
"""

from collections.abc import Mapping, Sequence

from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason, unknown
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import GraphRefused, PredictorUnavailable
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName

BUNDLE = "toy@1"


class ToyPredictor:
    """Implements `stowplan_fleet.predictors.Predictor` by the law above."""

    def __init__(self, work_ms: Mapping[GraphDigest, float], bundle: str = BUNDLE, bases: Mapping[GraphDigest, Basis] | None = None) -> None:
        self.work_ms = dict(work_ms)
        self.bases = dict(bases or {})
        self.bundle = bundle
        self.up = True
        self.calls = 0
        self.questions = 0

    async def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Analyses nothing."""
        del onnx_model, input_shapes
        raise GraphRefused("the toy predictor reads no models")

    async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
        """Answers by the law."""
        del runtime
        if not self.up:
            raise PredictorUnavailable("the toy predictor is switched off")
        self.calls += 1
        self.questions += len(questions)
        return [self.answer(question, devices) for question in questions]

    def answer(self, question: Question, devices: Mapping[DeviceName, Device] | None = None) -> Answer:
        """One answer by the law; without devices every device counts as described."""
        subject = question.subject
        if any(isinstance(tenant, Occupant) and tenant.graph_digest not in self.work_ms for tenant in (subject, *question.tenants)):
            return unknown(UnknownReason.GRAPH_NOT_FOUND, "a graph was not analysed", self.bundle)
        if devices is not None and subject.slice_class.device not in devices:
            return unknown(UnknownReason.DEVICE_NOT_DESCRIBED, f"no descriptor of {subject.slice_class.device}", self.bundle)
        cores = (subject.slice_class.slice.cpu_millicores or 1000) / 1000
        known = sum(isinstance(tenant, Occupant) for tenant in question.tenants)
        foreign_cores = sum(tenant.cpu_millicores for tenant in question.tenants if not isinstance(tenant, Occupant)) / 1000
        alone_ms = self.work_ms[subject.graph_digest] / cores
        service_ms = alone_ms * (1 + 0.25 * known + 0.10 * foreign_cores)
        utilization = subject.requests_per_second * service_ms / 1000
        return Answer(
            self.bases.get(subject.graph_digest, Basis.MEASURED),
            isolated=_interval(alone_ms),
            colocated=_interval(service_ms),
            response=_interval(service_ms * (1 + 3 * utilization)) if utilization < 1 else None,
            utilization=utilization,
            bundle=self.bundle,
        )


def _interval(median_ms: float) -> LatencyInterval:
    return LatencyInterval(median_ms, 0.9 * median_ms, 1.2 * median_ms, 0.9)

"""The judge of GPUs: kernels to time on a slice, tenants, the queue, and what the answer rests on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason
from stowplan_fleet.devices import Device, GpuDevice
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import DeviceName, Slice, SliceClass, SliceKind

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.fusion.tables import OPERATORS
from stowplan_predictor.gpus import sharings
from stowplan_predictor.gpus.estimators import TABLE, GpuEstimator, open_table
from stowplan_predictor.gpus.latencies import GpuRun, check_memory, run
from stowplan_predictor.gpus.machines import Place, place
from stowplan_predictor.gpus.measurements import doubt_of
from stowplan_predictor.gpus.responses import response
from stowplan_predictor.gpus.sharings import STRANGER, Client
from stowplan_predictor.gpus.tasks import Network, tasks_of
from stowplan_predictor.kernels.workloads import Workloads
from stowplan_predictor.response.response_times import check_server

RunOf = Callable[[Occupant], GpuRun]
_SHARED: Final = (SliceKind.MPS, SliceKind.TIME)
_LAW: Final = {SliceKind.MPS: "resources used at once", SliceKind.TIME: "equal turns"}


class GpuJudge:
    """See `pipelines.judges.Judge`."""

    def __init__(self, estimator: GpuEstimator, label: str) -> None:
        """Judges from the models of a bundle.

        Args:
            estimator: the models.
            label: `<name>@<version>`, as every answer carries it.
        """
        self.estimator = estimator
        self._label = label

    def device(self, slice_class: SliceClass, devices: Mapping[DeviceName, Device]) -> GpuDevice:
        """The GPU that a slice is cut from.

        Raises:
            CannotJudge: no node describes it, or it is a CPU.
        """
        device = devices.get(slice_class.device)
        if device is None:
            raise CannotJudge(UnknownReason.DEVICE_NOT_DESCRIBED, f"GPU {slice_class.device} was described by no node; does GPU-feature-discovery run there?")
        if not isinstance(device, GpuDevice):
            raise CannotJudge(
                UnknownReason.DEVICE_NOT_SUPPORTED,
                f"device {slice_class.device} is a CPU, and this bundle was measured on GPUs only; name a runtime of CPUs, such as onnxruntime-cpu",
            )
        return device

    def cut(self, device: GpuDevice) -> str:
        """One kernel an operator, on every GPU."""
        del device
        return OPERATORS

    def runs(self, parts: Sequence[tuple[Workloads, SliceClass, GpuDevice]]) -> list[GpuRun | CannotJudge]:
        """A run, or why there is none, for each of (kernels, slice, GPU)."""
        found: list[GpuRun | CannotJudge | None] = [None] * len(parts)
        asked: list[tuple[int, Network, Place]] = []
        for index, (work, slice_class, device) in enumerate(parts):
            try:
                where = place(device, slice_class.slice)
                check_memory(work, where)
                asked.append((index, tasks_of(work), where))
            except CannotJudge as error:
                found[index] = error
        estimates = self.estimator.estimates([(network.tasks, where) for _, network, where in asked])
        for (index, network, where), estimate in zip(asked, estimates, strict=True):
            try:
                found[index] = run(network, where, estimate, self.estimator.table)
            except CannotJudge as error:
                found[index] = error
        return [outcome for outcome in found if outcome is not None]

    def judge(self, question: Question, run_of: RunOf) -> Answer:
        """The answer to a question.

        Raises:
            CannotJudge: no honest number exists; carries the reason.
        """
        subject = question.subject
        check_server(subject)
        mine = run_of(subject)
        alone = mine.isolated
        isolated = alone.interval.of(alone.median_ms, self.estimator.table.coverage)
        beside, unchecked = self._beside(question, mine, isolated, run_of)
        served = response(beside, subject, question.percentile)
        if not all(_finite(item) for item in (isolated, beside, served.interval) if item is not None):
            raise CannotJudge(
                UnknownReason.PREDICTION_NOT_FINITE, f"graph {subject.graph_digest} on {subject.slice_class}: an interval is not finite or not in order"
            )
        unvalidated = (*unchecked, *served.reasons)
        return Answer(
            basis=Basis.UNVALIDATED if unvalidated else Basis.EXTRAPOLATED if alone.reasons else Basis.MEASURED,
            message="; ".join((*alone.reasons, *unvalidated)),
            isolated=isolated,
            colocated=beside,
            response=served.interval,
            utilization=served.utilization,
            bundle=self._label,
        )

    def first_place(self) -> tuple[SliceClass, GpuDevice]:
        """A whole GPU that was measured."""
        name = DeviceName(self.estimator.table.gpus[0].product)
        return SliceClass(name, Slice(SliceKind.FULL)), GpuDevice(name)

    def _beside(self, question: Question, mine: GpuRun, isolated: LatencyInterval, run_of: RunOf) -> tuple[LatencyInterval, tuple[str, ...]]:
        """Service time beside the tenants, and why that is unvalidated."""
        kind = question.subject.slice_class.slice.kind
        # Tenants of whole GPUs and of MIG instances are on others.
        if kind not in _SHARED or not question.tenants:
            return isolated, ()
        tenants = [_tenant(run_of(tenant), tenant) if isinstance(tenant, Occupant) else STRANGER for tenant in question.tenants]
        worst = sharings.heaviest(tenants, question.tenants_at_once)
        slower = sharings.slowdown(kind, _client(mine, question.subject), worst)
        learned = next((law for law in self.estimator.table.sharings if law.kind is kind and law.product == mine.place.whole.product), None)
        reasons = [f"sharing by the law of {_LAW[kind]}, {doubt}"] if (doubt := doubt_of(learned, len(worst))) else []
        slower = slower if learned is None else learned.slowdown(slower)
        if len(worst) < len(tenants):
            reasons.append(f"the kubelet picks the GPU: judged beside the heaviest {len(worst)} of {len(tenants)} tenants")
        if STRANGER in worst:
            reasons.append("a tenant of which nothing is known counts as one that always runs and takes everything")
        median, upper = isolated.median_ms * slower.median, isolated.upper_ms * slower.upper
        return replace(isolated, median_ms=median, upper_ms=max(median, upper)), tuple(reasons)


def _tenant(found: GpuRun, occupant: Occupant) -> Client:
    try:
        check_server(occupant)
    except CannotJudge as error:
        raise CannotJudge(UnknownReason.TENANTS_NOT_SUPPORTED, f"tenant {occupant.graph_digest}: {error.message}") from error
    return _client(found, occupant)


def _client(found: GpuRun, occupant: Occupant) -> Client:
    return Client(occupant.payload_instances * found.isolated.median_ms, occupant.requests_per_second, found.computing, found.traffic)


def _finite(item: LatencyInterval) -> bool:
    return math.isfinite(item.upper_ms) and 0 <= item.lower_ms <= item.median_ms <= item.upper_ms


def open_gpus(files: Mapping[str, bytes], label: str) -> GpuJudge:
    """The judge of a bundle.

    Args:
        files: content of the bundle's files, by path.
        label: `<name>@<version>` of the bundle.

    Raises:
        ValueError: the bundle is not usable.
    """
    return GpuJudge(GpuEstimator(open_table(files[TABLE]), files), label)

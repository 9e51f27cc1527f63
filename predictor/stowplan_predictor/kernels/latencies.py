"""Isolated service time of a network on a slice: the sum over its kernels, what dispatching them costs, a learned correction of the whole, and the quota."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.answers import UnknownReason

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.distances import Distance
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.novelties import Novelties, NoveltyTable
from stowplan_predictor.kernels.regressors import Efficiencies, FeatureRegressor
from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.kernels.rooflines import roofline_ms
from stowplan_predictor.kernels.summaries import SUMMARY, heavy, summary
from stowplan_predictor.kernels.throttles import sustained_ms
from stowplan_predictor.kernels.workloads import Workloads

# Kernels beyond the measured range make an answer an extrapolation once they hold this share of the predicted time: below it, even an
# error of a factor of two there moves the sum by less than the interval's usual width.
_EXTRAPOLATED_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Dispatch:
    """From kernels to a run, learned end to end: scale x sum of kernels + per_kernel x kernels + per_run."""

    scale: float
    """What the profiler overstates or misses, as a factor."""
    per_kernel_ms: float
    per_run_ms: float


@dataclass(frozen=True, slots=True)
class Offset:
    """By how much kernels take longer on a calibrated device than the models that were trained elsewhere say: log factors."""

    heavy: float
    """Of matrix-like kernels."""
    light: float
    """Of kernels that memory bounds."""
    uncertainty: float
    """By how much an interval widens on both sides: how sure those two are."""


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """What was learned end to end on one device."""

    dispatch: Mapping[str, Dispatch]
    """By number of threads; a count that is not there takes the largest measured one below it."""
    intervals: Mapping[str, LogInterval]
    """By slice (`1000`: millicores), in units of the predicted difficulty, from families that trained nothing it was calibrated on.
    `_interval` says which one a slice that is not there takes."""
    measured_millicores: tuple[int, ...]
    offsets: Mapping[str, Offset] = field(default_factory=dict)
    """By number of threads, where the device was calibrated from anchors; empty where networks were measured on it."""
    anchors: int = 0
    """Readings of anchor kernels that the offsets come from."""


@dataclass(frozen=True, slots=True)
class LearnedTable:
    """An ONNX regressor over a network's summary: (n, len(SUMMARY)) float32 to (n, 1) float32."""

    file: str
    lower: float
    """Least value it was fitted to; what it says never leaves the range."""
    upper: float


@dataclass(frozen=True, slots=True)
class NetworkTable:
    """What a bundle says about whole networks."""

    coverage: float
    devices: Mapping[str, DeviceTable]
    """By name of the device."""
    summary: tuple[str, ...] = SUMMARY
    """The order of numbers it was trained with; must be SUMMARY."""
    correction: LearnedTable | None = None
    """log(measured / predicted) that the sum leaves over; None where it gained nothing on held-out families."""
    difficulty: LearnedTable | None = None
    """log of the typical |log(measured / predicted)|; None: every network is as hard as any other."""
    novelty: NoveltyTable | None = None
    """Where the training set ends; None where that was not learned."""


@dataclass(frozen=True, slots=True)
class Isolated:
    """What is predicted of a network alone on a slice."""

    median_ms: float
    """On whole cores the service time; on a fraction of a core the mean service time that the quota sustains (single runs there are multimodal)."""
    interval: LogInterval
    kernel_ms: NDArray[np.float64]
    """Of each kernel, dispatch, correction and throttling included; sums to `median_ms`."""
    busy_ms: float
    """Time for which the threads run during one inference: `median_ms` where there is no quota."""
    reasons: tuple[str, ...]
    """Why this is an extrapolation; empty where it is not."""


class _Learned:
    def __init__(self, table: LearnedTable, files: Mapping[str, bytes]) -> None:
        if table.file not in files:
            raise ValueError(f"the network model's file {table.file} is missing")
        self._table = table
        self._model = FeatureRegressor(files[table.file])

    def of(self, numbers: NDArray[np.float32]) -> float:
        return float(np.clip(self._model.values(numbers[None, :])[0], self._table.lower, self._table.upper))


class NetworkModel:
    """The whole-network part of a bundle, opened. Thread-safe: ONNX Runtime sessions are."""

    def __init__(self, table: NetworkTable, files: Mapping[str, bytes]) -> None:
        """Opens what the table names.

        Args:
            table: what the bundle says about whole networks.
            files: content of each file the table names, by that name.

        Raises:
            ValueError: a file is missing or cannot be opened, the table was made for other summaries, or it names no device.
        """
        if table.summary != SUMMARY:
            raise ValueError("the network table was trained with other summaries than this version computes")
        if not table.devices:
            raise ValueError("the network table names no device")
        self.table = table
        self.correction = _Learned(table.correction, files) if table.correction else None
        self.difficulty = _Learned(table.difficulty, files) if table.difficulty else None
        self.novelties = Novelties(table.novelty, files.get(table.novelty.file, b"")) if table.novelty else None

    @property
    def coverage(self) -> float:
        """Share of predictions whose interval holds the truth."""
        return self.table.coverage

    def device(self, name: str) -> DeviceTable:
        """What was learned on a device; on the only one there is where the name is not known."""
        devices = self.table.devices
        return devices[name] if name in devices else devices[min(devices)]


def nearest(table: Mapping[str, object], wanted: int) -> str:
    """Key of the largest number not above `wanted`, else of the smallest."""
    numbers = sorted(int(key) for key in table)
    return str(max((item for item in numbers if item <= wanted), default=numbers[0]))


def _interval(intervals: Mapping[str, LogInterval], slice_: SliceResources) -> LogInterval:
    """That of the slice; else of the largest measured whole count below, joined (on a fraction) with that of the nearest measured slice below."""
    if (own := intervals.get(str(slice_.millicores))) is not None:
        return own
    whole = intervals[nearest(intervals, slice_.threads * 1000)]
    return whole.around(intervals[nearest(intervals, slice_.millicores)]) if slice_.fractional else whole


@dataclass(frozen=True, slots=True)
class Run:
    """A run on busy threads, before any quota."""

    kernel_ms: NDArray[np.float64]
    """Of each kernel, its dispatch included; sums to `busy_ms` less what a run costs as a whole."""
    busy_ms: float
    raw_ms: NDArray[np.float64]
    """Of each kernel, without dispatch."""


def dispatched(work: Workloads, slice_: SliceResources, efficiencies: Efficiencies, table: DeviceTable) -> Run:
    """The sum over kernels with the cost of dispatching them."""
    dispatch = table.dispatch[nearest(table.dispatch, slice_.threads)]
    log_ratio = efficiencies.log_ratio
    if table.offsets:
        offset = table.offsets[nearest(table.offsets, slice_.threads)]
        log_ratio = log_ratio + np.where(heavy(work), offset.heavy, offset.light)
    raw_ms = roofline_ms(work, slice_) * np.exp(log_ratio)
    kernel_ms = dispatch.scale * raw_ms + dispatch.per_kernel_ms
    return Run(kernel_ms, float(kernel_ms.sum()) + dispatch.per_run_ms, raw_ms)


def isolated(work: Workloads, slice_: SliceResources, efficiencies: Efficiencies, model: NetworkModel, distance: Distance) -> Isolated:
    """Sums kernels to the service time on a slice.

    Args:
        work: the network's kernels.
        slice_: where they run.
        efficiencies: of those kernels there.
        model: what was learned end to end.
        distance: of device and slice from those measured.

    Raises:
        CannotJudge: the sum is no number of milliseconds.
    """
    device = model.device(distance.nearest)
    run = dispatched(work, slice_, efficiencies, device)
    total = float(run.kernel_ms.sum())
    if not (np.isfinite(total) and total > 0):
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"the sum over {len(run.kernel_ms)} kernels is {total} ms")
    numbers = summary(work, slice_, efficiencies, run.raw_ms)
    busy_ms = run.busy_ms * (float(np.exp(model.correction.of(numbers))) if model.correction else 1.0)
    median_ms = sustained_ms(busy_ms, slice_)
    if not (np.isfinite(median_ms) and median_ms > 0):
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"the sum over {len(run.kernel_ms)} kernels comes to {median_ms} ms under the quota")
    spread = _interval(device.intervals, slice_).scaled(float(np.exp(model.difficulty.of(numbers))) if model.difficulty else 1.0)
    upward, strange = _ceiling(work, run, efficiencies)
    reasons = [*distance.reasons, *(strange if model.novelties is None else ())]
    widening = distance.log_factor
    if device.offsets:
        widening += device.offsets[nearest(device.offsets, slice_.threads)].uncertainty
        reasons.append(f"device {distance.nearest}: calibrated from {device.anchors} readings of anchor kernels, no network was measured on it")
    share = run.kernel_ms / total
    if (far := float(share @ efficiencies.extrapolated)) > _EXTRAPOLATED_SHARE:
        # As wrong as its regressor is on families it has not seen, by the share of the time that it holds.
        widening += float((share * efficiencies.extrapolated) @ efficiencies.error_log)
        reasons.append(f"{far:.0%} of the time is in kernels beyond the range measured")
    if model.novelties is not None:
        novelty = model.novelties.of(work, share)
        widening += novelty.log_factor
        reasons += novelty.reasons
    return Isolated(median_ms, spread.widened(widening) + LogInterval(0.0, upward), share * median_ms, busy_ms, tuple(reasons))


def _ceiling(work: Workloads, run: Run, efficiencies: Efficiencies) -> tuple[float, list[str]]:
    """How much longer the run takes, as a logarithm, if kernels of types that were never measured are as slow as they may be; and their names."""
    strange = efficiencies.ceiling > efficiencies.log_ratio
    if not strange.any():
        return 0.0, []
    longer = run.kernel_ms[strange] * (np.exp(efficiencies.ceiling - efficiencies.log_ratio)[strange] - 1.0)
    names = ", ".join(sorted({work.types[index] for index in np.flatnonzero(strange)}))
    total = float(run.kernel_ms.sum())
    return float(np.log1p(longer.sum() / total)), [f"kernels of types that were never measured: {names}"]

"""Isolated service time of a network on a slice: the sum over its kernels, what dispatching them costs, and what a quota makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.answers import UnknownReason

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.distances import Distance
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.kernels.rooflines import roofline_ms
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
class NetworkTable:
    """What a bundle says about whole networks."""

    dispatch: Mapping[str, Dispatch]
    """By number of threads; a count that is not there takes the largest measured one below it."""
    intervals: Mapping[str, LogInterval]
    """By slice (`1000`: millicores) as calibrated on held-out families. `_interval` says which one a slice that is not there takes."""
    measured_millicores: tuple[int, ...]
    coverage: float


@dataclass(frozen=True, slots=True)
class Isolated:
    """What is predicted of a network alone on a slice."""

    median_ms: float
    """On whole cores the service time; on a fraction of a core the mean service time that the quota sustains (single runs there are multimodal)."""
    interval: LogInterval
    kernel_ms: NDArray[np.float64]
    """Of each kernel, dispatch and throttling included; sums to `median_ms`."""
    busy_ms: float
    """Time for which the threads run during one inference: `median_ms` where there is no quota."""
    reasons: tuple[str, ...]
    """Why this is an extrapolation; empty where it is not."""


def _nearest(table: Mapping[str, object], wanted: int) -> str:
    """Key of the largest number not above `wanted`, else of the smallest."""
    numbers = sorted(int(key) for key in table)
    return str(max((item for item in numbers if item <= wanted), default=numbers[0]))


def _interval(table: NetworkTable, slice_: SliceResources) -> LogInterval:
    """That of the slice; else of the largest measured whole count below, joined (on a fraction) with that of the nearest measured slice below."""
    if (own := table.intervals.get(str(slice_.millicores))) is not None:
        return own
    whole = table.intervals[_nearest(table.intervals, slice_.threads * 1000)]
    return whole.around(table.intervals[_nearest(table.intervals, slice_.millicores)]) if slice_.fractional else whole


def isolated(work: Workloads, slice_: SliceResources, efficiencies: Efficiencies, table: NetworkTable, distance: Distance) -> Isolated:
    """Sums kernels to the service time on a slice.

    Args:
        work: the network's kernels.
        slice_: where they run.
        efficiencies: of those kernels there.
        table: what was learned end to end.
        distance: of device and slice from those measured.

    Raises:
        CannotJudge: the sum is no number of milliseconds.
    """
    dispatch = table.dispatch[_nearest(table.dispatch, slice_.threads)]
    kernel_ms = dispatch.scale * roofline_ms(work, slice_) * np.exp(efficiencies.log_ratio) + dispatch.per_kernel_ms
    total = float(kernel_ms.sum())
    busy_ms = total + dispatch.per_run_ms
    median_ms = sustained_ms(busy_ms, slice_)
    if not (np.isfinite(median_ms) and median_ms > 0 and total > 0):
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"the sum over {len(kernel_ms)} kernels is {median_ms} ms")
    far = float((kernel_ms * efficiencies.extrapolated).sum()) / total
    reasons = list(distance.reasons)
    widening = distance.log_factor
    strange = efficiencies.ceiling > efficiencies.log_ratio
    ceiling_ms = dispatch.scale * roofline_ms(work, slice_) * np.exp(efficiencies.ceiling) + dispatch.per_kernel_ms
    upward = float(np.log((total + (ceiling_ms - kernel_ms)[strange].sum()) / total))
    if strange.any():
        names = ", ".join(sorted({work.types[index] for index in np.flatnonzero(strange)}))
        reasons.append(f"kernels of types that were never measured: {names}")
    if far > _EXTRAPOLATED_SHARE:
        # As wrong as its regressor is on families it has not seen, by the share of the time that it holds.
        widening += float((kernel_ms * efficiencies.extrapolated * efficiencies.error_log).sum()) / total
        reasons.append(f"{far:.0%} of the time is in kernels beyond the range measured")
    return Isolated(median_ms, _interval(table, slice_).widened(widening) + LogInterval(0.0, upward), kernel_ms * (median_ms / total), busy_ms, tuple(reasons))

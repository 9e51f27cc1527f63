"""From kernels to networks: dispatch costs fitted end to end, and intervals calibrated on families that no part of the model has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.distances import Distance
from stowplan_predictor.kernels.intervals import LogInterval, conformal, least_residuals
from stowplan_predictor.kernels.latencies import Dispatch, Isolated, NetworkTable, isolated
from stowplan_predictor.kernels.regressors import Efficiencies, KernelRegressors
from stowplan_predictor.training.regressions import non_negative
from stowplan_predictor.training.samples import Measured, Sample

COVERAGE: Final = 0.9
_ENOUGH: Final = least_residuals(COVERAGE)
# Before anything is calibrated.
_EXACT: Final = LogInterval(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Case:
    """One network on one slice, with what regressors that never saw its family say of its kernels."""

    sample: Sample
    slice: str
    measured: Measured
    fold: int
    efficiencies: Efficiencies | None
    """None where a kernel cannot be judged."""
    refusal: str = ""

    @property
    def kernels_ms(self) -> float:
        """Sum over kernels, before dispatch."""
        assert self.efficiencies is not None  # noqa: S101 - callers ask judged cases only
        return float((self.measured.roofline_ms * np.exp(self.efficiencies.log_ratio)).sum())


@dataclass(frozen=True, slots=True)
class Judged:
    """A case with its prediction by a model that never saw its family."""

    case: Case
    isolated: Isolated

    @property
    def log_residual(self) -> float:
        """log(measured / predicted)."""
        return float(np.log(self.case.measured.truth_ms / self.isolated.median_ms))


def cases(samples: Sequence[Sample], folds: Mapping[str, int], regressors: KernelRegressors) -> list[Case]:
    """Kernel predictions for some networks on every slice they were measured on."""
    found = []
    for sample in samples:
        found += [case(sample, name, folds, regressors) for name, measured in sample.measured.items() if measured.visits]
    return found


def case(sample: Sample, slice_: str, folds: Mapping[str, int], regressors: KernelRegressors) -> Case:
    """Kernel predictions for one network on one slice."""
    measured = sample.measured[slice_]
    try:
        efficiencies = regressors.efficiencies(sample.work.types, sample.work.names, measured.features)
    except CannotJudge as error:
        return Case(sample, slice_, measured, folds[sample.family], None, error.message)
    return Case(sample, slice_, measured, folds[sample.family], efficiencies)


def fit_dispatch(judged: Sequence[Case]) -> dict[str, Dispatch]:
    """Non-negative least squares of relative errors, for each number of threads, on whole cores."""
    found = {}
    for threads in sorted({case.measured.slice_.threads for case in judged if not case.measured.slice_.fractional}):
        own = [case for case in judged if case.measured.slice_.threads == threads and not case.measured.slice_.fractional]
        truth = np.array([case.measured.truth_ms for case in own])
        design = np.array([[case.kernels_ms, len(case.sample.work.types), 1.0] for case in own]) / truth[:, None]
        scale, per_kernel, per_run = non_negative(design, np.ones(len(own)))
        # Squared relative errors pull a prediction down (an overestimate costs without bound); the median ratio puts it back.
        centre = float(np.median(1.0 / (design @ np.array([scale, per_kernel, per_run]))))
        found[str(threads)] = Dispatch(float(scale) * centre, float(per_kernel) * centre, float(per_run) * centre)
    return found


def _table(dispatch: Mapping[str, Dispatch], judged: Sequence[Case]) -> NetworkTable:
    millicores = tuple(sorted({case.measured.slice_.millicores for case in judged}))
    return NetworkTable(dispatch, {str(item): _EXACT for item in millicores}, millicores, COVERAGE)


def predict(case: Case, table: NetworkTable) -> Judged:
    """What a table makes of a case's kernels."""
    assert case.efficiencies is not None  # noqa: S101 - callers ask judged cases only
    return Judged(case, isolated(case.sample.work, case.measured.slice_, case.efficiencies, table, Distance()))


def held_out(judged: Sequence[Case]) -> list[Judged]:
    """Predictions for every case with dispatch costs fitted on the other folds."""
    found: list[Judged] = []
    for fold in sorted({case.fold for case in judged}):
        others = [case for case in judged if case.fold != fold]
        table = _table(fit_dispatch(others), judged)
        found += [predict(case, table) for case in judged if case.fold == fold]
    return found


def calibrate(residuals: Sequence[Judged]) -> dict[str, LogInterval]:
    """An interval for each slice, as text of its millicores.

    A fraction of a core with too few networks for an interval of its own takes that of the whole cores below it, stretched to hold all of its residuals.

    Raises:
        ValueError: too few networks on a slice of whole cores.
    """
    by_slice: dict[int, list[float]] = {}
    for item in residuals:
        by_slice.setdefault(item.case.measured.slice_.millicores, []).append(item.log_residual)
    found = {millicores: conformal(values, COVERAGE) for millicores, values in by_slice.items() if millicores % 1000 == 0 or len(values) >= _ENOUGH}
    for millicores, values in by_slice.items():
        if millicores not in found:
            whole = found[-(-millicores // 1000) * 1000]
            found[millicores] = whole.around(LogInterval(min(0.0, *values), max(0.0, *values)))
    return {str(millicores): found[millicores] for millicores in sorted(found)}


def fit_networks(judged: Sequence[Case], residuals: Sequence[Judged]) -> NetworkTable:
    """The table that a bundle carries: dispatch from all cases, intervals from held-out residuals."""
    return replace(_table(fit_dispatch(judged), judged), intervals=calibrate(residuals))


def coverage(residuals: Sequence[Judged]) -> float:
    """How often the interval, calibrated on the other folds, held."""
    held, count = 0, 0
    for fold in sorted({item.case.fold for item in residuals}):
        intervals = calibrate([item for item in residuals if item.case.fold != fold])
        for item in residuals:
            if item.case.fold == fold:
                interval = intervals[str(item.case.measured.slice_.millicores)]
                held += interval.lower <= item.log_residual <= interval.upper
                count += 1
    return held / count

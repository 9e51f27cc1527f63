"""From kernels to networks: dispatch costs fitted end to end, a correction where it helps, intervals and reach calibrated on families that trained nothing.

Every case comes with efficiencies by a kernel model that never saw its family's fold. What is fitted here is judged the same way: for each fold, by what the
other folds teach. (Kernel models of those other folds have seen the judged fold's kernels; a dozen coefficients and two quantiles learn little from that, and
the prediction itself rests on none of them: cross-conformal, Vovk 2015.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.distances import Distance
from stowplan_predictor.kernels.intervals import LogInterval, conformal, least_residuals
from stowplan_predictor.kernels.latencies import DeviceTable, NetworkModel, NetworkTable, isolated
from stowplan_predictor.kernels.throttles import sustained_ms
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.networks import novelty_fits, residual_fits
from stowplan_predictor.training.networks.cases import Case, Judged, weights
from stowplan_predictor.training.networks.dispatch_fits import fit_dispatch
from stowplan_predictor.training.networks.residual_fits import NONE, Rows

COVERAGE: Final = 0.9
CORRECTION: Final = "networks/correction.onnx"
DIFFICULTY: Final = "networks/difficulty.onnx"
# Added to a residual before its logarithm: what test and retest differ by on a quiet machine.
_FLOOR: Final = 0.02
# What a difficulty must narrow the interval by on average to be kept.
_NARROWER: Final = 0.02


@dataclass(frozen=True, slots=True)
class NetworkFit:
    """The whole-network part of a bundle."""

    table: NetworkTable
    files: Mapping[str, bytes]
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen on held-out folds, and by which figures."""

    def model(self) -> NetworkModel:
        """As the serving code opens it."""
        return NetworkModel(self.table, self.files)


def predict(case: Case, model: NetworkModel, device: str) -> Judged:
    """What a model makes of a case's kernels."""
    return Judged(case, isolated(case.sample.work, case.measured.slice_, case.known, model, Distance(nearest=device)))


def _residuals(own: Sequence[Case], others: Sequence[Case]) -> NDArray[np.float64]:
    """log(measured / predicted) with dispatch costs of others."""
    table = DeviceTable(fit_dispatch(others), {}, ())
    return np.array([np.log(case.measured.truth_ms / sustained_ms(case.run(table).busy_ms, case.measured.slice_)) for case in own])


def _rows(cases: Sequence[Case]) -> Rows:
    """Residuals of every case after dispatch, held out by folds."""
    fold = np.array([case.fold for case in cases])
    residual = np.zeros(len(cases))
    for number in np.unique(fold):
        own = [case for case in cases if case.fold == number]
        others = [case for case in cases if case.fold != number]
        residual[fold == number] = _residuals(own, others or own)
    table = DeviceTable(fit_dispatch(cases), {}, ())
    numbers = np.array([case.numbers(table) for case in cases], dtype=np.float32)
    return Rows(numbers, residual, weights(cases), fold)


def intervals(cases: Sequence[Case], normalised: NDArray[np.float64]) -> dict[str, LogInterval]:
    """An interval for each slice, as text of its millicores, in units of the difficulty.

    A fraction of a core with too few networks for an interval of its own takes that of the whole cores above it, stretched to hold all of its residuals.

    Raises:
        ValueError: too few networks on a slice of whole cores.
    """
    slices = np.array([case.measured.slice_.millicores for case in cases])
    weight, found = weights(cases), {}
    for millicores in sorted(set(slices.tolist())):
        own = slices == millicores
        if millicores % 1000 == 0 or own.sum() >= least_residuals(COVERAGE):
            found[millicores] = conformal(normalised[own], COVERAGE, weight[own])
    for millicores in sorted(set(slices.tolist()) - found.keys()):
        values = normalised[slices == millicores]
        whole = found[-(-millicores // 1000) * 1000]
        found[millicores] = whole.around(LogInterval(min(0.0, *values), max(0.0, *values)))
    return {str(millicores): found[millicores] for millicores in sorted(found)}


def _width(cases: Sequence[Case], normalised: NDArray[np.float64], scale: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Mean width of the intervals, as a logarithm."""
    by_slice = intervals(cases, normalised)
    each = [by_slice[str(case.measured.slice_.millicores)] for case in cases]
    return float(np.average([(item.upper - item.lower) * factor for item, factor in zip(each, scale, strict=True)], weights=weight))


def fit_networks(cases: Sequence[Case], device: str) -> NetworkFit:
    """Everything end to end, from cases that can be judged.

    Args:
        cases: with efficiencies by kernel models that did not see their folds.
        device: name of the device they were measured on.

    Raises:
        ValueError: too few cases for an interval.
    """
    rows = _rows(cases)
    files: dict[str, bytes] = {}
    choice, correction = residual_fits.choose(rows), None
    if choice.kind != NONE:
        correction, files[CORRECTION] = residual_fits.learned(choice.kind, rows, CORRECTION)
    left = rows.target - choice.held_out
    hard = replace(rows, target=np.log(np.abs(left) + _FLOOR))
    widths, scales = {}, {}
    for name in (NONE, residual_fits.TREES):
        scales[name] = np.exp(residual_fits.held_out(name, hard))
        widths[name] = _width(cases, left / scales[name], scales[name], rows.weight)
    hardness = residual_fits.TREES if widths[residual_fits.TREES] < widths[NONE] * (1 - _NARROWER) else NONE
    difficulty = None
    if hardness != NONE:
        difficulty, files[DIFFICULTY] = residual_fits.learned(hardness, hard, DIFFICULTY)
    millicores = tuple(sorted({case.measured.slice_.millicores for case in cases}))
    measured = DeviceTable(fit_dispatch(cases), intervals(cases, left / scales[hardness]), millicores)
    choices = {
        "correction": {"chosen": choice.kind, "mean_absolute_log_error": {name: round(value, 5) for name, value in choice.errors.items()}},
        "difficulty": {"chosen": hardness, "mean_log_width": {name: round(value, 5) for name, value in widths.items()}},
    }
    return NetworkFit(NetworkTable(COVERAGE, {device: measured}, correction=correction, difficulty=difficulty), files, choices)


def held_out(cases: Sequence[Case], device: str) -> list[Judged]:
    """Predictions for every case by what the other folds teach."""
    found: list[Judged] = []
    for fold in sorted({case.fold for case in cases}):
        model = fit_networks([case for case in cases if case.fold != fold], device).model()
        found += [predict(case, model, device) for case in cases if case.fold == fold]
    return found


def with_reach(fit: NetworkFit, samples: Sequence[Sample], splits: Mapping[str, int], judged: Sequence[Judged]) -> tuple[NetworkFit, list[novelty_fits.Gaps]]:
    """The same fit with the reach of its training set, its threshold set by held-out families; and how far those lie from the other folds.

    Args:
        fit: of networks.
        samples: that trained it, isolated kernels too.
        splits: fold of each family.
        judged: held-out predictions of its networks.
    """
    by_name = {item.case.sample.name: item for item in judged if not item.case.measured.slice_.fractional}
    shares = {name: item.isolated.kernel_ms / item.isolated.kernel_ms.sum() for name, item in by_name.items()}
    gaps = novelty_fits.held_out_gaps(samples, splits, shares)
    reach = novelty_fits.reach_of(gaps, {str(name) for sample in samples for name in sample.work.types})
    # The most novel tenth of what was held out says how wrong a prediction out of distribution is at least.
    novelty = np.array([item.novelty(reach.scales) for item in gaps])
    edge = np.quantile(novelty, 0.9)
    far = [abs(by_name[item.sample.name].log_residual) for item, value in zip(gaps, novelty, strict=True) if value >= edge]
    table, content = novelty_fits.opened(samples, reach, float(np.quantile(far, 0.9)))
    return replace(fit, table=replace(fit.table, novelty=table), files={**fit.files, novelty_fits.NOVELTY: content}), gaps

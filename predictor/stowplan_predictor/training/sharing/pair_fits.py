"""The co-location model from measured pairs, judged on pairs whose networks' families it has not seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.slices import parse_slice

from stowplan_predictor.colocation.degradations import TERMS, ColocationTable, terms
from stowplan_predictor.colocation.demands import Pressure, demand, pressure
from stowplan_predictor.kernels.intervals import LogInterval, conformal, least_residuals
from stowplan_predictor.training.data.rows import PairRow
from stowplan_predictor.training.kernels.regressions import non_negative
from stowplan_predictor.training.networks.cases import Judged
from stowplan_predictor.training.networks.fits import COVERAGE


@dataclass(frozen=True, slots=True)
class Pair:
    """One measured pair with everything a prediction of it may know."""

    row: PairRow
    families: tuple[str, str]
    folds: tuple[int, int]
    terms: NDArray[np.float64]
    tenant: Pressure
    isolated_ms: float
    """Predicted, by a model that never saw the subject's family."""


@dataclass(frozen=True, slots=True)
class PairFit:
    """The table and what it is worth."""

    table: ColocationTable
    predicted_ratios: tuple[float, ...]
    """Held out, in the order of `pairs`."""
    mean_ratios: tuple[float, ...]
    """The floor: the mean slowdown of the pairs of other folds."""
    pairs: tuple[Pair, ...]


def pairs(rows: Sequence[PairRow], alone: Callable[[str, str], Judged | None], folds: Mapping[str, int], device: CpuDevice) -> list[Pair]:
    """Joins measured pairs with held-out predictions of both networks alone; pairs of networks that cannot be judged are left out."""
    found = []
    for row in rows:
        subject, tenant = alone(row.network, row.slice), alone(row.tenant, row.tenant_slice)
        if subject is None or tenant is None:
            continue
        own = demand(subject.case.sample.work, subject.isolated.busy_ms, device)
        slice_ = tenant.case.measured.slice_
        beside = pressure(demand(tenant.case.sample.work, tenant.isolated.busy_ms, device), slice_.share, slice_.threads)
        families = (subject.case.sample.family, tenant.case.sample.family)
        found.append(
            Pair(row, families, (folds[families[0]], folds[families[1]]), terms(own, beside), beside, subject.isolated.median_ms)
        )  # fmt: skip
    return found


def _coefficients(some: Sequence[Pair]) -> NDArray[np.float64]:
    design = np.array([pair.terms for pair in some])
    return non_negative(design, np.array([np.log(pair.row.ratio) for pair in some]))


def _predicted(pair: Pair, others: Sequence[Pair]) -> float:
    """Slowdown as learned from other pairs: by the regression, or as their mean where they are too few for one."""
    if len(others) < len(TERMS):
        return float(np.exp(np.mean([np.log(other.row.ratio) for other in others]))) if others else float("nan")
    return float(np.exp(pair.terms @ _coefficients(others)))


def _interval(residuals: Sequence[float], alone: LogInterval) -> LogInterval:
    """Calibrated where there are enough pairs; else that of networks alone, stretched to hold every residual there is."""
    if len(residuals) >= least_residuals(COVERAGE):
        return conformal(residuals, COVERAGE)
    return alone.around(LogInterval(min(0.0, *residuals), max(0.0, *residuals)))


def fit_pairs(found: Sequence[Pair], alone: Mapping[str, LogInterval]) -> PairFit:
    """Fits on all pairs; every prediction that is judged comes from pairs without its two families' folds.

    Args:
        found: measured pairs.
        alone: intervals of networks alone, by millicores.

    Raises:
        ValueError: no two pairs of different families.
    """
    predicted, means, residuals = [], [], []
    for pair in found:
        others = [other for other in found if pair.folds[0] not in other.folds and other.families[1] != pair.families[1]]
        ratio = _predicted(pair, others)
        predicted.append(ratio)
        means.append(float(np.mean([other.row.ratio for other in others])) if others else float("nan"))
        residuals.append(float(np.log(pair.row.beside_ms / (pair.isolated_ms * ratio))))
    usable = [index for index, residual in enumerate(residuals) if np.isfinite(residual)]
    if not usable:
        raise ValueError(f"{len(found)} measured pairs: none can be held out; measure more with `make dataset`")
    tenants = [pair.tenant for pair in found]
    return PairFit(
        ColocationTable(
            terms=TERMS,
            coefficients=tuple(float(value) for value in _coefficients(found)),
            interval=_interval([residuals[index] for index in usable], alone[str(_millicores(found[0].row.slice))]),
            measured=tuple(sorted({(_millicores(pair.row.slice), _millicores(pair.row.tenant_slice)) for pair in found})),
            unknown_per_core=_unknown(tenants),
            coverage=COVERAGE,
        ),
        tuple(predicted[index] for index in usable),
        tuple(means[index] for index in usable),
        tuple(found[index] for index in usable),
    )


def _millicores(slice_: str) -> int:
    return parse_slice(slice_).cpu_millicores


def _unknown(tenants: Sequence[Pressure]) -> Pressure:
    """Per core of a tenant: what nine in ten measured tenants stay below, each part by itself, so that the whole is on the safe side."""
    per_core = [item.scaled(1 / item.busy) for item in tenants]

    def most(values: Sequence[float]) -> float:
        return float(np.quantile(values, 0.9))

    return Pressure(
        busy=1.0,
        traffic=most([item.traffic for item in per_core]),
        compute=most([item.compute for item in per_core]),
        footprint=most([item.footprint for item in per_core]),
    )

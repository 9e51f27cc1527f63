"""The response-time table from measured service times, and the queueing formula against real servers under Poisson load."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from stowplan_fleet.slices import parse_slice

from stowplan_predictor.kernels.intervals import conformal
from stowplan_predictor.response.queues import ServiceShape, response_factor, shape_of
from stowplan_predictor.response.response_times import ResponseTable
from stowplan_predictor.training.data.rows import QUANTILE_POINTS, LoadRow, NetworkRow
from stowplan_predictor.training.networks.fits import COVERAGE

PERCENTILES: Final = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class LoadCase:
    """One percentile of one load, measured and by the formula from inference time and overhead of the same session."""

    row: LoadRow
    percentile: int
    measured_ms: float
    formula_ms: float
    mean_only_ms: float
    """The floor: the service time itself, as if nobody ever waited."""

    @property
    def log_residual(self) -> float:
        """log(measured / formula)."""
        return float(np.log(self.measured_ms / self.formula_ms))


def _stretched(shape: ServiceShape, cv: float) -> ServiceShape:
    """The same shape with deviations from the mean scaled to a coefficient of variation, where that is larger: servers vary more than bare runs."""
    factor = max(1.0, cv / max(shape.squared_cv**0.5, 1e-6))
    return shape_of(shape.points, [max(0.0, 1.0 + factor * (value - 1.0)) for value in shape.quantiles])


def shapes(rows: Sequence[NetworkRow], loads: Sequence[LoadRow]) -> dict[str, ServiceShape]:
    """For each slice of whole cores, the mean over networks of their normalised quantiles, as wide as service times of real servers there are."""
    found = {}
    for name in sorted({row.slice for row in rows}):
        millicores = parse_slice(name).cpu_millicores
        own = [shape_of(QUANTILE_POINTS, row.quantiles_ms).quantiles for row in rows if row.slice == name]
        if millicores % 1000 == 0:
            served = [row.service_cv for row in loads if row.slice == name]
            shape = shape_of(QUANTILE_POINTS, np.mean(own, axis=0).tolist())
            found[str(millicores)] = _stretched(shape, float(np.median(served))) if served else shape
    return found


def _busy(row: LoadRow, serial_share: float) -> tuple[float, float]:
    """How long a request keeps the server busy, and by how much it is late besides, in milliseconds."""
    overhead = max(0.0, row.service_mean_ms - row.inference_mean_ms)
    return row.inference_mean_ms + serial_share * overhead, (1.0 - serial_share) * overhead


def load_cases(rows: Sequence[LoadRow], by_slice: dict[str, ServiceShape], serial_share: float) -> list[LoadCase]:
    """The formula beside each measured percentile; loads that the server could not sustain have none."""
    found = []
    for row in rows:
        shape = by_slice.get(str(parse_slice(row.slice).cpu_millicores))
        busy_ms, late_ms = _busy(row, serial_share)
        load = row.requests_per_second * busy_ms / 1000
        if shape is None or load >= 1 or row.concurrency != 1:
            continue
        for percentile, measured in zip(PERCENTILES, (row.p50_ms, row.p90_ms, row.p95_ms, row.p99_ms), strict=True):
            formula = busy_ms * response_factor(shape, load, percentile) + late_ms
            found.append(LoadCase(row, percentile, measured, formula, row.service_mean_ms))
    return found


def _serial_share(rows: Sequence[LoadRow], by_slice: dict[str, ServiceShape]) -> float:
    """The share of the overhead that keeps others waiting with which the formula is nearest to the measured percentiles, in steps of a twentieth."""
    candidates = [step / 20 for step in range(21)]
    errors = [float(np.mean([abs(case.log_residual) for case in load_cases(rows, by_slice, share)] or [np.inf])) for share in candidates]
    return candidates[int(np.argmin(errors))]


def fit_loads(rows: Sequence[LoadRow], networks: Sequence[NetworkRow]) -> tuple[ResponseTable, list[LoadCase]]:
    """The table that a bundle carries, and the cases it was checked on: each by a serial share that was found without its network.

    Raises:
        ValueError: too few loads to calibrate an interval.
    """
    by_slice = shapes(networks, rows)
    found: list[LoadCase] = []
    for network in sorted({row.network for row in rows}):
        others = [row for row in rows if row.network != network]
        found += load_cases([row for row in rows if row.network == network], by_slice, _serial_share(others, by_slice))
    if not found:
        raise ValueError(f"{len(rows)} measured loads: none that the formula speaks of; measure more with `make dataset`")
    checked = {case.row for case in found}
    share = _serial_share(rows, by_slice)
    table = ResponseTable(
        shapes=by_slice,
        overhead_ms=max(0.0, float(np.median([row.service_mean_ms - row.inference_mean_ms for row in checked]))),
        serial_share=share,
        interval=conformal((case.log_residual for case in found), COVERAGE),
        measured_millicores=tuple(sorted({parse_slice(row.slice).cpu_millicores for row in checked})),
        most_load=max(row.requests_per_second * _busy(row, share)[0] / 1000 for row in checked),
        percentiles=PERCENTILES,
        coverage=COVERAGE,
    )
    return table, found

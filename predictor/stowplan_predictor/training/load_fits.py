"""The response-time table from measured service times, and the queueing formula against real servers under Poisson load."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from stowplan_fleet.slices import parse_slice

from stowplan_predictor.kernels.intervals import conformal
from stowplan_predictor.response.queues import ServiceShape, response_factor, shape_of
from stowplan_predictor.response.response_times import ResponseTable
from stowplan_predictor.training.network_fits import COVERAGE
from stowplan_predictor.training.rows import QUANTILE_POINTS, LoadRow, NetworkRow

PERCENTILES: Final = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class LoadCase:
    """One percentile of one load, measured and by the formula from the service time that was measured in the same session."""

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


def shapes(rows: Sequence[NetworkRow]) -> dict[str, ServiceShape]:
    """For each slice of whole cores, the mean over networks of their normalised quantiles."""
    found = {}
    for name in sorted({row.slice for row in rows}):
        millicores = parse_slice(name).cpu_millicores
        own = [shape_of(QUANTILE_POINTS, row.quantiles_ms).quantiles for row in rows if row.slice == name]
        if millicores % 1000 == 0:
            found[str(millicores)] = shape_of(QUANTILE_POINTS, np.mean(own, axis=0).tolist())
    return found


def load_cases(rows: Sequence[LoadRow], by_slice: dict[str, ServiceShape]) -> list[LoadCase]:
    """The formula beside each measured percentile; loads that the server could not sustain have none."""
    found = []
    for row in rows:
        shape = by_slice.get(str(parse_slice(row.slice).cpu_millicores))
        load = row.requests_per_second * row.service_mean_ms / 1000
        if shape is None or load >= 1 or row.concurrency != 1:
            continue
        for percentile, measured in zip(PERCENTILES, (row.p50_ms, row.p90_ms, row.p95_ms, row.p99_ms), strict=True):
            formula = row.service_mean_ms * response_factor(shape, load, percentile)
            found.append(LoadCase(row, percentile, measured, formula, row.service_mean_ms))
    return found


def fit_loads(rows: Sequence[LoadRow], networks: Sequence[NetworkRow]) -> tuple[ResponseTable, list[LoadCase]]:
    """The table that a bundle carries, and the cases it was checked on.

    Raises:
        ValueError: too few loads to calibrate an interval.
    """
    by_slice = shapes(networks)
    found = load_cases(rows, by_slice)
    checked = {case.row for case in found}
    table = ResponseTable(
        shapes=by_slice,
        overhead_ms=max(0.0, float(np.median([row.service_mean_ms - row.inference_mean_ms for row in checked]))),
        interval=conformal((case.log_residual for case in found), COVERAGE),
        measured_millicores=tuple(sorted({parse_slice(row.slice).cpu_millicores for row in checked})),
        most_load=max(row.requests_per_second * row.service_mean_ms / 1000 for row in checked),
        percentiles=PERCENTILES,
        coverage=COVERAGE,
    )
    return table, found

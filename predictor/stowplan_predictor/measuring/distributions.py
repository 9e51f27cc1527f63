"""Samples of a duration, summed up without losing their shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

# 0 %, 5 % ... 100 %: response-time models need the shape, not only its middle.
QUANTILE_POINTS: Final = tuple(point / 20 for point in range(21))
# The rule on variation leaves out a hundredth of the runs at each end, and the fastest and the slowest one where there are enough: one timer interrupt of 4 ms
# among thirty runs, or thousands of a tiny network, would fail every set. What the rule ignores stays in the record (`cv`, `p99_ms`, the last quantile).
_TRIMMED_PERCENT: Final = 1
_ENOUGH_RUNS: Final = 10


@dataclass(frozen=True, slots=True)
class Distribution:
    """Durations of runs, in milliseconds."""

    runs: int
    median_ms: float
    mean_ms: float
    p5_ms: float
    p25_ms: float
    p75_ms: float
    p95_ms: float
    p99_ms: float
    cv: float
    """Standard deviation over mean, of all runs."""
    steady_cv: float
    """The same without a hundredth of the runs at each end, at least one run."""
    quantiles_ms: tuple[float, ...]
    """At `QUANTILE_POINTS`."""


def describe(durations_ms: Sequence[float]) -> Distribution:
    """Sums up at least one duration.

    Raises:
        ValueError: there is none.
    """
    if not len(durations_ms):
        raise ValueError("no run finished: nothing to describe")
    values: Any = np.asarray(durations_ms, dtype=np.float64)
    p5, p25, median, p75, p95, p99 = (float(value) for value in np.percentile(values, [5, 25, 50, 75, 95, 99]))
    trimmed = max(1, len(values) * _TRIMMED_PERCENT // 100) if len(values) >= _ENOUGH_RUNS else 0
    middle = np.sort(values)[trimmed : len(values) - trimmed]
    quantiles = tuple(float(value) for value in np.quantile(values, QUANTILE_POINTS))
    return Distribution(len(values), median, float(values.mean()), p5, p25, p75, p95, p99, _cv(values), _cv(middle), quantiles)


def _cv(values: Any) -> float:  # noqa: ANN401 - a NumPy array
    return float(values.std() / values.mean()) if values.mean() > 0 else 0.0

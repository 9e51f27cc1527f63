"""How sure a prediction is: split-conformal intervals on the logarithm of measured over predicted.

Source: Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005; Lei et al., "Distribution-free predictive inference for regression",
JASA 113, 2018. Residuals come from families that the predicting model was not trained on (cross-conformal over the folds: Vovk, "Cross-conformal
predictors", 2015; its guarantee is 1 - 2 alpha in the worst case, and near 1 - alpha in practice, which the evaluation checks).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.answers import LatencyInterval


@dataclass(frozen=True, slots=True)
class LogInterval:
    """Where log(truth / prediction) lies with some coverage. `lower` <= 0 <= `upper`, so that an interval holds its own median."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower <= 0 <= self.upper):
            raise ValueError(f"an interval of logarithms must be finite and hold 0, got {self.lower} to {self.upper}")

    def widened(self, log_factor: float) -> "LogInterval":
        """Farther out by a factor on both sides."""
        return LogInterval(self.lower - log_factor, self.upper + log_factor)

    def scaled(self, factor: float) -> "LogInterval":
        """In units of another difficulty: both ends times a factor, which is above zero."""
        return LogInterval(self.lower * factor, self.upper * factor)

    def around(self, other: "LogInterval") -> "LogInterval":
        """The smallest interval that holds both."""
        return LogInterval(min(self.lower, other.lower), max(self.upper, other.upper))

    def __add__(self, other: "LogInterval") -> "LogInterval":
        """Of a product of two independent errors, conservatively: both at their ends."""
        return LogInterval(self.lower + other.lower, self.upper + other.upper)

    def of(self, median_ms: float, coverage: float) -> LatencyInterval:
        """The interval around a prediction in milliseconds."""
        return LatencyInterval(median_ms, median_ms * math.exp(self.lower), median_ms * math.exp(self.upper), coverage)


def least_residuals(coverage: float) -> int:
    """How many residuals a two-sided interval of that coverage needs, so that both ends are order statistics: 19 for 0.9."""
    return math.ceil(2 / (1 - coverage) - 1 - 1e-9)


def conformal(log_residuals: Iterable[float], coverage: float, weights: Iterable[float] | None = None) -> LogInterval:
    """Two-sided split-conformal interval, half of the miss rate on each side.

    Args:
        log_residuals: log(measured / predicted) of cases the model was not trained on.
        coverage: between 0 and 1.
        weights: how much each case stands for among those to come, above zero; None: all alike. (Tibshirani et al., "Conformal prediction under covariate
            shift", NeurIPS 2019, with the mean weight for the case to come.)

    Raises:
        ValueError: too few residuals for that coverage, or one that is not finite.
    """
    values = np.fromiter(log_residuals, dtype=np.float64)
    count = len(values)
    if not 0 < coverage < 1 or count < least_residuals(coverage):
        raise ValueError(f"{count} residuals cannot carry a coverage of {coverage}: at least {least_residuals(coverage)} are needed")
    if not np.isfinite(values).all():
        raise ValueError("a residual is not finite: a measured or a predicted value was not above zero")
    mass = np.ones(count) if weights is None else np.fromiter(weights, dtype=np.float64)
    mass = mass / mass.mean()
    tail = (1 - coverage) / 2
    return LogInterval(min(0.0, -_upper(-values, mass, tail)), max(0.0, _upper(values, mass, tail)))


def _upper(values: NDArray[np.float64], mass: NDArray[np.float64], tail: float) -> float:
    """The least value below which all but `tail` of the mass lies, that of the case to come (one) counted as above.

    The k-th smallest of n exchangeable residuals covers a new one with probability k / (n + 1).
    """
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(mass[order])
    wanted = (len(values) + 1) * (1 - tail) - 1e-9
    return float(values[order][min(int(np.searchsorted(passed, wanted)), len(values) - 1)])

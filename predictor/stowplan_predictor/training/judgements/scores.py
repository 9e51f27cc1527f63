"""How far off predictions are, in the few figures that manifests and documents carry.

Cases of one family are alike, so every interval comes from a bootstrap over whole families (a cluster bootstrap, percentile method: Efron and Tibshirani, "An
introduction to the bootstrap", 1993, section 13.3; Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8). Seeded: the same cases
give the same figures. With few families it is too narrow, as every bootstrap is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Resamples of the bootstrap: enough for two digits of a 95 % interval.
_RESAMPLES: Final = 2000
_SEED: Final = 0
_TAILS: Final = (0.025, 0.975)

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """Predictions against measurements."""

    cases: int
    """Predicted ones."""
    mape_percent: float
    """Mean of |predicted - measured| / measured."""
    mape_low_percent: float
    """Lower end of the bootstrap 95 % interval of `mape_percent`, families resampled whole."""
    mape_high_percent: float
    median_ape_percent: float
    within_5_percent: float
    """Share of all cases whose prediction is within 5 % of the measurement, in percent; a case without prediction is not."""
    within_10_percent: float
    rank_correlation: float
    """Spearman's, between -1 and 1; 0 where all predictions are the same."""
    refused: int = 0
    """Cases without a prediction."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often intervals hold the measurement."""

    percent: float
    """Of all cases; a case without prediction is not held."""
    low_percent: float
    """Lower end of the bootstrap 95 % interval, families resampled whole."""
    high_percent: float
    half_width_percent: float
    """Median over cases of half the interval's width, relative to the prediction."""

    def contains(self, nominal_percent: float) -> bool:
        """Whether the nominal coverage is within what chance explains."""
        return self.low_percent <= nominal_percent <= self.high_percent


def family_bootstrap(values: NDArray[np.float64], families: Sequence[str], wholes: NDArray[np.float64] | None = None) -> Range:
    """95 % interval of the mean of values (of their sum over the sum of `wholes`), families resampled whole.

    Args:
        values: shape (cases,).
        families: of the cases.
        wholes: shape (cases,), what each value is a part of; ones where not given. A family of zeros has no say.
    """
    names, home = np.unique(np.asarray(families, dtype=str), return_inverse=True)
    sums = np.bincount(home, weights=values, minlength=len(names))
    counts = np.bincount(home, weights=wholes, minlength=len(names))
    sums, counts = sums[counts > 0], counts[counts > 0]
    draws = np.random.default_rng(_SEED).integers(len(sums), size=(_RESAMPLES, len(sums)))
    low, high = np.quantile(sums[draws].sum(axis=1) / counts[draws].sum(axis=1), _TAILS)
    return float(low), float(high)


def share(parts: Sequence[float], families: Sequence[str], wholes: Sequence[float] | None = None) -> tuple[float, float, float]:
    """A share with its 95 % interval, in percent.

    Args:
        parts: what was hit in each case: True or False, or a count.
        families: of the cases.
        wholes: what could be hit in each case; 1 where not given.

    Raises:
        ValueError: no cases, or nothing to hit in any.
    """
    values = np.asarray(parts, dtype=np.float64)
    sizes = np.ones(len(values)) if wholes is None else np.asarray(wholes, dtype=np.float64)
    if not sizes.sum() > 0:
        raise ValueError("no cases: a share of nothing is no number")
    low, high = family_bootstrap(values, families, sizes)
    return round(100 * float(values.sum() / sizes.sum()), 2), round(100 * low, 2), round(100 * high, 2)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, ties at their mean."""
    _, home, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return np.asarray((last - (counts - 1) / 2)[home], dtype=np.float64)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; 0 where one side is constant."""
    left, right = _ranks(first), _ranks(second)
    if left.std() == 0 or right.std() == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def score(measured: Sequence[float], predicted: Sequence[float | None], families: Sequence[str]) -> Score:
    """Judges predictions.

    Args:
        measured: above zero.
        predicted: in the same order and unit; None where nothing was predicted.
        families: of the cases; cases of one family are not independent and are resampled together.

    Raises:
        ValueError: no predicted case, or a value that is not finite.
    """
    known = [index for index, value in enumerate(predicted) if value is not None]
    truth = np.array([measured[index] for index in known], dtype=np.float64)
    guess = np.array([predicted[index] for index in known], dtype=np.float64)
    if not len(truth) or not np.isfinite(truth).all() or not np.isfinite(guess).all() or (truth <= 0).any():
        raise ValueError(f"{len(truth)} cases cannot be judged: measurements must be above zero and predictions finite")
    errors = np.abs(guess - truth) / truth
    low, high = family_bootstrap(errors, [families[index] for index in known])
    return Score(
        cases=len(truth),
        mape_percent=round(100 * float(errors.mean()), 2),
        mape_low_percent=round(100 * low, 2),
        mape_high_percent=round(100 * high, 2),
        median_ape_percent=round(100 * float(np.median(errors)), 2),
        within_5_percent=round(100 * float((errors <= 0.05).sum()) / len(measured), 1),
        within_10_percent=round(100 * float((errors <= 0.1).sum()) / len(measured), 1),
        rank_correlation=round(rank_correlation(truth, guess), 4),
        refused=len(measured) - len(truth),
    )


def coverage(
    measured: Sequence[float], predicted: Sequence[float | None], intervals: Sequence[tuple[float, float] | None], families: Sequence[str]
) -> Coverage | None:
    """Judges intervals; None where no case has one.

    Args:
        measured: above zero.
        predicted: in the same order and unit.
        intervals: lower and upper end around each prediction; None where there is none.
        families: of the cases.
    """
    widths = [(ends[1] - ends[0]) / (2 * guess) for guess, ends in zip(predicted, intervals, strict=True) if ends is not None and guess is not None]
    if not widths:
        return None
    held = [ends is not None and ends[0] <= truth <= ends[1] for truth, ends in zip(measured, intervals, strict=True)]
    return Coverage(*share(held, families), half_width_percent=round(100 * float(np.median(widths)), 2))


def mean_absolute_ms(measured: Sequence[float], predicted: Sequence[float | None]) -> float:
    """Mean absolute error of the predicted cases, in the unit of the measurements.

    Raises:
        ValueError: no predicted case.
    """
    errors = [abs(guess - truth) for truth, guess in zip(measured, predicted, strict=True) if guess is not None]
    if not errors:
        raise ValueError("no cases: a mean of nothing is no number")
    return math.fsum(errors) / len(errors)

"""How far off predictions are, in the few figures that manifests and documents carry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Resamples of the bootstrap: enough for two digits of a 95 % interval.
_RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Score:
    """Predictions against measurements."""

    cases: int
    mape_percent: float
    """Mean of |predicted - measured| / measured."""
    mape_low_percent: float
    """Lower end of the bootstrap 95 % interval of `mape_percent`, families resampled whole."""
    mape_high_percent: float
    median_ape_percent: float
    within_10_percent: float
    """Share of the predictions within 10 % of the measurement, in percent."""
    rank_correlation: float
    """Spearman's, between -1 and 1; 0 where all predictions are the same."""


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    for value in np.unique(values):
        tied = values == value
        ranks[tied] = ranks[tied].mean()
    return ranks


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; 0 where one side is constant."""
    left, right = _ranks(first), _ranks(second)
    if left.std() == 0 or right.std() == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def score(measured: Sequence[float], predicted: Sequence[float], families: Sequence[str]) -> Score:
    """Judges predictions.

    Args:
        measured: above zero.
        predicted: in the same order and unit.
        families: of the cases; cases of one family are not independent and are resampled together.

    Raises:
        ValueError: no cases, or a value that is not finite.
    """
    truth, guess = np.asarray(measured, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if not len(truth) or not np.isfinite(truth).all() or not np.isfinite(guess).all() or (truth <= 0).any():
        raise ValueError(f"{len(truth)} cases cannot be judged: measurements must be above zero and predictions finite")
    errors = np.abs(guess - truth) / truth
    groups = [errors[np.array([name == family for name in families])] for family in sorted(set(families))]
    generator = np.random.default_rng(0)
    draws = generator.integers(len(groups), size=(_RESAMPLES, len(groups)))
    means = [float(np.concatenate([groups[index] for index in draw]).mean()) for draw in draws]
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(
        cases=len(truth),
        mape_percent=round(100 * float(errors.mean()), 2),
        mape_low_percent=round(100 * float(low), 2),
        mape_high_percent=round(100 * float(high), 2),
        median_ape_percent=round(100 * float(np.median(errors)), 2),
        within_10_percent=round(100 * float((errors <= 0.1).mean()), 1),
        rank_correlation=round(rank_correlation(truth, guess), 4),
    )

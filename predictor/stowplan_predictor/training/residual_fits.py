"""Small regressors over whole networks: what the sum over kernels leaves over (correction), and how large that usually is (difficulty).

Every figure they are chosen by comes from folds that the figure's regressor has not seen, and a regressor that gains nothing there is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor

from stowplan_predictor.kernels.latencies import LearnedTable
from stowplan_predictor.training.regressions import Recipe, Regressor, fit, to_model

NONE: Final = "none"
LINEAR: Final = "linear"
TREES: Final = "trees"
KINDS: Final = (NONE, LINEAR, TREES)
# A more complex kind must be better by this share: below it, the choice would be noise.
_GAIN: Final = 0.02
# Networks are hundreds and their families dozens: shallow trees with full leaves, or they learn families by heart.
_ROUNDS: Final = 120
_RATE: Final = 0.06
_DEPTH: Final = 3
_LEAF: Final = 12
_PENALTY: Final = 30.0
# What a correction says stays within these quantiles of what it was fitted to.
_EDGE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Rows:
    """Networks on slices, one a row."""

    numbers: NDArray[np.float32]
    """(n, len(SUMMARY))"""
    target: NDArray[np.float64]
    weight: NDArray[np.float64]
    fold: NDArray[np.int64]

    def only(self, keep: NDArray[np.bool_]) -> "Rows":
        """The rows where `keep` is true."""
        return Rows(self.numbers[keep], self.target[keep], self.weight[keep], self.fold[keep])


def _fit(kind: str, rows: Rows) -> Regressor:
    if kind == LINEAR:
        return fit(Recipe("linear", quadratic=False, penalty=_PENALTY, trees=0), rows.numbers, rows.target, rows.weight)
    columns = rows.numbers.shape[1]
    offset = float(np.average(rows.target, weights=rows.weight))
    leaf = min(_LEAF, max(2, len(rows.target) // 8))
    # Least absolute deviations near the middle, so that a few networks that are far off do not bend the rest.
    trees = GradientBoostingRegressor(
        loss="huber", alpha=0.9, n_estimators=_ROUNDS, learning_rate=_RATE, max_depth=_DEPTH, min_samples_leaf=leaf, subsample=0.7, max_features=0.5,
        init="zero", random_state=0,
    )  # fmt: skip
    trees.fit(rows.numbers, rows.target - offset, sample_weight=rows.weight)
    return Regressor(np.zeros(columns), np.ones(columns), offset, np.zeros(columns), None, trees)


def _predict(regressor: Regressor, rows: Rows, numbers: NDArray[np.float32]) -> NDArray[np.float64]:
    lower, upper = np.quantile(rows.target, [_EDGE, 1 - _EDGE])
    return np.clip(regressor.predict(numbers), lower, upper)


def held_out(kind: str, rows: Rows) -> NDArray[np.float64]:
    """What a regressor of that kind, fitted on the other folds, says of each row; zeros for NONE."""
    found = np.zeros(len(rows.target))
    if kind == NONE:
        return found
    for number in np.unique(rows.fold):
        own = rows.fold == number
        others = rows.only(~own)
        found[own] = _predict(_fit(kind, others), others, rows.numbers[own])
    return found


def choose(rows: Rows, kinds: Sequence[str] = KINDS) -> tuple[str, dict[str, float]]:
    """The kind with the least absolute error on folds it has not seen, the simpler one where they are close; and the errors of all."""
    errors = {kind: float(np.average(np.abs(rows.target - held_out(kind, rows)), weights=rows.weight)) for kind in kinds}
    chosen = kinds[0]
    for kind in kinds[1:]:
        if errors[kind] < errors[chosen] * (1 - _GAIN):
            chosen = kind
    return chosen, errors


def learned(kind: str, rows: Rows, file: str) -> tuple[LearnedTable, bytes]:
    """The regressor of all rows, as a bundle carries it."""
    lower, upper = np.quantile(rows.target, [_EDGE, 1 - _EDGE])
    return LearnedTable(file, float(lower), float(upper)), to_model(_fit(kind, rows))

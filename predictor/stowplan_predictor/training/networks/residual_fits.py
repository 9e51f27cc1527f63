"""Small regressors over whole networks: what the sum over kernels leaves over (correction), and how large that usually is (difficulty).

Every figure they are chosen by comes from folds that the figure's regressor has not seen, and a regressor that gains nothing there is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.latencies import LearnedTable
from stowplan_predictor.training.kernels import boosted_trees, regressions
from stowplan_predictor.training.kernels.boosted_trees import Boosting
from stowplan_predictor.training.kernels.regressions import Recipe

NONE: Final = "none"
LINEAR: Final = "linear"
TREES: Final = "trees"
KINDS: Final = (NONE, LINEAR, TREES)
# A more complex kind must be better by this share: below it, the choice would be noise.
_GAIN: Final = 0.02
# Published networks are hundreds and their families dozens: shallow trees with full leaves, or they learn families by heart.
_BOOSTING: Final = Boosting(rounds=80, rate=0.07, leaves=6, least_rows=15, ridge=5.0, share=0.5, bins=32)
_PENALTY: Final = 30.0
# Targets are held within these quantiles before anything is fitted (a few networks that are far off must not bend the rest), and so is what is said.
_EDGE: Final = 0.02


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


@dataclass(frozen=True, slots=True)
class _Fitted:
    predict: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    model: Callable[[], bytes]
    lower: float
    upper: float

    def of(self, numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.clip(self.predict(numbers), self.lower, self.upper)


def _fit(kind: str, rows: Rows) -> _Fitted:
    lower, upper = (float(value) for value in np.quantile(rows.target, [_EDGE, 1 - _EDGE]))
    target = np.clip(rows.target, lower, upper)
    if kind == LINEAR:
        line = regressions.fit(Recipe("linear", quadratic=False, penalty=_PENALTY, trees=0), rows.numbers, target, rows.weight)
        return _Fitted(line.predict, lambda: regressions.to_model(line), lower, upper)
    trees = boosted_trees.fit(rows.numbers, target, rows.weight, _BOOSTING)
    return _Fitted(trees.predict, lambda: boosted_trees.to_model(trees, rows.numbers.shape[1]), lower, upper)


def held_out(kind: str, rows: Rows) -> NDArray[np.float64]:
    """What a regressor of that kind, fitted on the other folds, says of each row; zeros for NONE."""
    found = np.zeros(len(rows.target))
    if kind == NONE:
        return found
    for number in np.unique(rows.fold):
        own = rows.fold == number
        others = rows.only(~own)
        found[own] = _fit(kind, others).of(rows.numbers[own])
    return found


@dataclass(frozen=True, slots=True)
class Choice:
    """Which kind of regressor, and why."""

    kind: str
    errors: Mapping[str, float]
    """Weighted mean absolute error on folds it has not seen, by kind."""
    held_out: NDArray[np.float64]
    """What the chosen kind says of each row, fitted on the other folds."""


def choose(rows: Rows, kinds: Sequence[str] = KINDS) -> Choice:
    """The kind with the least absolute error on folds it has not seen, the simpler one where they are close."""
    guesses = {kind: held_out(kind, rows) for kind in kinds}
    errors = {kind: float(np.average(np.abs(rows.target - guess), weights=rows.weight)) for kind, guess in guesses.items()}
    chosen = kinds[0]
    for kind in kinds[1:]:
        if errors[kind] < errors[chosen] * (1 - _GAIN):
            chosen = kind
    return Choice(chosen, errors, guesses[chosen])


def learned(kind: str, rows: Rows, file: str) -> tuple[LearnedTable, bytes]:
    """The regressor of all rows, as a bundle carries it."""
    fitted = _fit(kind, rows)
    return LearnedTable(file, fitted.lower, fitted.upper), fitted.model()

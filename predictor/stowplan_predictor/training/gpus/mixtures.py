"""The served system: boosted trees over physics; for products, what each library kernel would take, weighed by how likely it runs.

One regressor a family says log(latency / bound) of a library kernel from its blocks (`gpus.variants`), learned from rows of which the kernel's name tells the
variant; a classifier says from a task's shape and the GPU which one runs. Both are mixed in logarithms. Element-wise and row-wise kernels have one regressor.
After readings on a GPU the kernels' names are known too: variants that ran clearly more or less often than was thought are made more or less likely.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.gpus.features import FEATURES, LIBRARIES, PLAIN, columns_of, offsets_of
from stowplan_predictor.gpus.tasks import FAMILIES, PRODUCTS, Matrix
from stowplan_predictor.gpus.variants import VARIANTS
from stowplan_predictor.training.gpus.labels import labels
from stowplan_predictor.training.gpus.samples import Samples

# Set once and never tuned.
_ROUNDS: Final = 150
_CHOICES: Final = 40
ANY: Final = "any"
LIBRARY_COLUMNS: Final = {name: FEATURES.index(f"library_{name}") for name in LIBRARIES}
# Chance that is left to variants that nobody saw run.
LEAST_CHANCE: Final = 1e-3
# Of the readings of a family: so many more or fewer than thought are more than luck. And how far, in logarithms, odds move then.
_CLEARLY: Final = 0.8
_ODDS: Final = 4.0
_STEPS: Final = 200


def grown(features: NDArray[np.float32], target: Matrix) -> HistGradientBoostingRegressor:
    """Trees for a family; the same rows give the same trees."""
    model = HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=_ROUNDS,
        learning_rate=0.1,
        max_leaf_nodes=16,
        min_samples_leaf=40,
        max_features=0.6,
        early_stopping=False,
        random_state=0,
    )
    return model.fit(features, target)


def _chooser(features: NDArray[np.float32], variant: NDArray[np.int64]) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(max_iter=_CHOICES, max_leaf_nodes=16, min_samples_leaf=20, early_stopping=False, random_state=0)
    return model.fit(features, variant)


@dataclass(frozen=True)
class Family:
    """Models of one family."""

    regressor: HistGradientBoostingRegressor
    choosers: Mapping[str, HistGradientBoostingClassifier]
    """By library of kernels, where it was seen to choose; under ANY from all rows, for libraries that were not. None at all for light kernels."""
    lower: float
    upper: float
    """Range of log(latency / bound) that was learned from."""

    def each(self, rows: Samples, family: str) -> Matrix:
        """(rows, variants): log(latency / the task's bound) were each variant to run."""
        columns, offsets = columns_of(family), offsets_of(family)
        return np.column_stack([self.regressor.predict(rows.features[:, mine]) + rows.features[:, own] for mine, own in zip(columns, offsets, strict=True)])

    def chances(self, rows: Samples, family: str) -> Matrix:
        """(rows, variants), each row's sum is 1."""
        found = np.full((len(rows), len(VARIANTS[family])), LEAST_CHANCE)
        for name, column in LIBRARY_COLUMNS.items():
            mine = np.flatnonzero(rows.features[:, column] > 0)
            chooser = self.choosers.get(name, self.choosers[ANY])
            if len(mine):
                found[np.ix_(mine, chooser.classes_)] += chooser.predict_proba(rows.features[mine, :PLAIN])
        return np.asarray(found / found.sum(axis=1, keepdims=True))


def fit_family(rows: Samples, family: str) -> Family:
    """Learns one family's rows.

    Raises:
        DatasetRefused: products of which fewer than two library kernels ran.
    """
    ratio = rows.log_ms - np.log(rows.bound_ms)
    lower, upper = float(ratio.min()), float(ratio.max())
    if family not in PRODUCTS:
        return Family(grown(_light(rows), ratio), {}, lower, upper)
    variant = labels(rows.table.names.tolist(), family)
    known = np.flatnonzero(variant >= 0)
    mine = columns_of(family)[variant[known]]
    own = rows.features[known, offsets_of(family)[variant[known]]]
    regressor = grown(np.take_along_axis(rows.features[known], mine, axis=1), ratio[known] - own)
    choosers = {}
    for name, column in {ANY: None, **LIBRARY_COLUMNS}.items():
        theirs = known if column is None else known[rows.features[known, column] > 0]
        if len(set(variant[theirs].tolist())) > 1:
            choosers[name] = _chooser(rows.features[theirs, :PLAIN], variant[theirs])
    if not choosers:
        raise DatasetRefused(f"{family}: the names of {len(rows)} rows tell fewer than two library kernels; nothing can be learned of which one runs")
    return Family(regressor, choosers, lower, upper)


def _light(rows: Samples) -> NDArray[np.float32]:
    return np.column_stack([rows.features[:, :PLAIN], rows.features[:, -1]])


@dataclass(frozen=True)
class Part:
    """What is thought of the rows of one family."""

    mine: NDArray[np.bool_]
    """Which rows."""
    each: Matrix
    """(their number, variants): log(latency / bound) were each to run; one column for light kernels."""
    chances: Matrix
    """Likewise."""
    ran: NDArray[np.int64]
    """Which one ran, as the kernels' names tell; -1 where they do not."""
    lower: float
    upper: float

    def mixed(self, odds: Matrix | float) -> Matrix:
        """log(latency / bound), the mean over variants."""
        chances = self.chances * np.exp(odds)
        return np.asarray(np.clip((self.each * chances).sum(axis=1) / chances.sum(axis=1), self.lower, self.upper))


@dataclass(frozen=True)
class Thoughts:
    """What is thought of some rows, whatever may be told of them later."""

    bound_ms: Matrix
    parts: Mapping[str, Part]

    def said(self, odds: Mapping[str, Matrix] | None = None) -> Matrix:
        """Log milliseconds; `odds` by family of products: what readings add to the logarithm of each variant's chance."""
        found = np.log(self.bound_ms)
        for family, part in self.parts.items():
            found[part.mine] += part.mixed((odds or {}).get(family, 0.0))
        return found

    def as_ran(self) -> Matrix:
        """The same of readings: it is known which kernels ran."""
        found = np.log(self.bound_ms)
        for part in self.parts.values():
            known = np.clip(np.take_along_axis(part.each, np.maximum(part.ran, 0)[:, None], axis=1)[:, 0], part.lower, part.upper)
            found[part.mine] += np.where(part.ran >= 0, known, part.mixed(0.0))
        return found

    def odds(self) -> dict[str, Matrix]:
        """What readings say of the chances, by family of products."""
        moved = {family: _odds(part.chances[part.ran >= 0], part.ran[part.ran >= 0]) for family, part in self.parts.items() if family in PRODUCTS}
        return {family: odds for family, odds in moved.items() if odds is not None}


@dataclass(frozen=True)
class Served:
    """What is served, as a system."""

    families: Mapping[str, Family]

    def __call__(self, asked: Samples) -> Matrix:
        """Log milliseconds."""
        return self.thoughts(asked).said()

    def thoughts(self, rows: Samples) -> Thoughts:
        """All that the models say of rows."""
        return Thoughts(rows.bound_ms, {family: self._part(rows, family) for family in sorted(set(rows.families.tolist()))})

    def _part(self, rows: Samples, family: str) -> Part:
        mine = rows.families == family
        theirs, model = rows.part(mine), self.families[family]
        if not model.choosers:
            each = model.regressor.predict(_light(theirs))[:, None]
            return Part(mine, each, np.ones_like(each), np.zeros(len(theirs), dtype=np.int64), model.lower, model.upper)
        ran = labels(theirs.table.names.tolist(), family)
        return Part(mine, model.each(theirs, family), model.chances(theirs, family), ran, model.lower, model.upper)


def _odds(chances: Matrix, variant: NDArray[np.int64]) -> Matrix | None:
    """Most likely odds, drawn towards none, for variants that ran clearly more or less often than thought; None where none did."""
    ran = np.bincount(variant, minlength=chances.shape[1])
    clearly = np.abs(ran - chances.sum(axis=0)) > _CLEARLY * len(chances)
    if not len(chances) or not clearly.any():
        return None
    odds = np.zeros(chances.shape[1])
    for _ in range(_STEPS):
        moved = chances * np.exp(odds)
        moved /= moved.sum(axis=1, keepdims=True)
        odds += 0.3 * clearly * (ran - moved.sum(axis=0) - odds / _ODDS**2)
    return odds


def ours(rows: Samples) -> Served:
    """Fits every family that has rows."""
    return Served({family: fit_family(rows.part(rows.families == family), family) for family in FAMILIES if (rows.families == family).any()})

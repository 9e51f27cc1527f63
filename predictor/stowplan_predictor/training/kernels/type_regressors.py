"""One regressor a kernel type, and one for each class as a fallback: by recipes chosen on families held out ("trees"), or random forests ("forests").

"forests" on kernels that fusion rules found is the way of nn-Meter (Zhang et al., MobiSys 2021).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from stowplan_predictor.kernels.members import BY_TYPE, MemberTable
from stowplan_predictor.training.kernels.regressions import RECIPES, Recipe, fit, to_model
from stowplan_predictor.training.kernels.rows import KernelRows, members
from stowplan_predictor.training.kernels.tree_files import Tree, regressor_file, trees_node

# Which recipe is best shows on this many rows, evenly taken; the regressor itself is fitted on all.
_CHOICE_ROWS: Final = 1000
# Of families, for choosing a recipe.
_PARTS: Final = 3
_FOREST_TREES: Final = 60
# A forest remembers what it saw: on more rows its file grows and its error does not fall.
_FOREST_ROWS: Final = 6000


@dataclass(frozen=True)
class TypeFit:
    """A member of a bundle, and its absolute log errors on families held out, by range key."""

    table: MemberTable
    files: Mapping[str, bytes]
    errors: Mapping[str, NDArray[np.float64]]


def _parts(families: NDArray[np.str_], parts: int) -> NDArray[np.int64]:
    """Deals families, largest first, to the smallest part."""
    names, counts = np.unique(families, return_counts=True)
    sizes, dealt = [0] * parts, {}
    for index in np.argsort(-counts, kind="stable"):
        part = int(np.argmin(sizes))
        dealt[names[index]] = part
        sizes[part] += int(counts[index])
    return np.array([dealt[name] for name in families], dtype=np.int64)


def thinned(rows: KernelRows, most: int) -> KernelRows:
    """At most that many rows, evenly taken."""
    return rows.only(np.linspace(0, len(rows) - 1, most).astype(np.int64)) if len(rows) > most else rows


def held_out_errors(rows: KernelRows, recipe: Recipe) -> NDArray[np.float64]:
    """Absolute log error of every row, by regressors that saw no row of its part of the families."""
    part = _parts(rows.families, _PARTS)
    found = np.full(len(rows), np.nan)
    for number in range(_PARTS):
        train, test = part != number, part == number
        if train.sum() < 2 or not test.any():
            continue
        regressor = fit(recipe, rows.features[train], rows.log_ratio[train], rows.weight[train])
        low, high = rows.log_ratio[train].min(), rows.log_ratio[train].max()
        found[test] = np.abs(np.clip(regressor.predict(rows.features[test]), low, high) - rows.log_ratio[test])
    return found


def choose(rows: KernelRows, candidates: tuple[Recipe, ...] = RECIPES) -> tuple[Recipe, NDArray[np.float64]]:
    """The recipe with the least weighted error on families held out, and its errors there."""
    few = thinned(rows, _CHOICE_ROWS)
    errors = {recipe.name: held_out_errors(few, recipe) for recipe in candidates}

    def cost(recipe: Recipe) -> float:
        known = np.isfinite(errors[recipe.name])
        return float(np.average(errors[recipe.name][known], weights=few.weight[known])) if known.any() else np.inf

    best = min(candidates, key=cost)
    return best, errors[best.name][np.isfinite(errors[best.name])]


def _fit_all(rows: KernelRows, prefix: str, fit_one: Callable[[KernelRows], tuple[bytes, NDArray[np.float64]]]) -> TypeFit:
    files, errors, table = {}, {}, {}
    for key, mask in members(rows).items():
        table[key] = f"{prefix}/{key}.onnx"
        files[table[key]], errors[key] = fit_one(rows.only(mask))
    return TypeFit(MemberTable(BY_TYPE, table), files, errors)


def fit_trees(rows: KernelRows, seed: int) -> TypeFit:
    """Each type by the recipe that does best on families held out."""

    def fit_one(own: KernelRows) -> tuple[bytes, NDArray[np.float64]]:
        recipe, errors = choose(own)
        return to_model(fit(recipe, own.features, own.log_ratio, own.weight, seed)), errors

    return _fit_all(rows, "kernels/trees", fit_one)


def _forest(rows: KernelRows, seed: int) -> RandomForestRegressor:
    forest = RandomForestRegressor(_FOREST_TREES, max_features=0.4, min_samples_leaf=2, n_jobs=2, random_state=seed)
    return forest.fit(rows.features, rows.log_ratio, sample_weight=rows.weight)


def forest_file(forest: RandomForestRegressor, columns: int) -> bytes:
    """The forest's mean as an ONNX file."""
    count = len(forest.estimators_)
    trees = [
        Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, tree.value[:, 0, 0] / count)
        for tree in (estimator.tree_ for estimator in forest.estimators_)
    ]
    return regressor_file([trees_node(trees, "features", "log_ratio")], [], columns)


def fit_forests(rows: KernelRows, seed: int) -> TypeFit:
    """Each type by a random forest of its own."""

    def fit_one(own: KernelRows) -> tuple[bytes, NDArray[np.float64]]:
        few = thinned(own, _FOREST_ROWS)
        part = _parts(few.families, _PARTS)
        held = part == 0
        learned = _forest(few.only(~held), seed).predict(few.features[held]) if 1 < (~held).sum() < len(few) else few.log_ratio[held]
        return forest_file(_forest(few, seed), few.features.shape[1]), np.abs(learned - few.log_ratio[held])

    return _fit_all(rows, "kernels/forests", fit_one)

"""One regressor a kernel type, and one for each class as a fallback, by recipes chosen on families held out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.members import BY_TYPE, MemberTable
from stowplan_predictor.training.kernels.regressions import RECIPES, Recipe, fit, to_model
from stowplan_predictor.training.kernels.rows import KernelRows, members

# Which recipe is best shows on this many rows, evenly taken; the regressor itself is fitted on all.
_CHOICE_ROWS: Final = 1000
# Of families, for choosing a recipe.
_PARTS: Final = 3


@dataclass(frozen=True)
class TypeFit:
    """A member of a bundle, and its absolute log errors on families held out, by range key."""

    table: MemberTable
    files: Mapping[str, bytes]
    errors: Mapping[str, NDArray[np.float64]]


def family_parts(families: NDArray[np.str_], parts: int) -> NDArray[np.int64]:
    """The part of each row: families are dealt, largest first, to the smallest part."""
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
    part = family_parts(rows.families, _PARTS)
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


def fit_trees(rows: KernelRows, seed: int) -> TypeFit:
    """Each type by the recipe that does best on families held out."""
    files, errors, table = {}, {}, {}
    for key, mask in members(rows).items():
        own = rows.only(mask)
        recipe, errors[key] = choose(own)
        table[key] = f"kernels/trees/{key}.onnx"
        files[table[key]] = to_model(fit(recipe, own.features, own.log_ratio, own.weight, seed))
    return TypeFit(MemberTable(BY_TYPE, table), files, errors)

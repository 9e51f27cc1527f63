"""Kernel regressors from measured kernels: the recipe of each type is the one with the least error on families it has not seen."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.regressors import HEAVY, LIGHT, KernelRegressors, KernelTable, RegressorTable
from stowplan_predictor.training.regressions import RECIPES, Recipe, Regressor, fit, to_model
from stowplan_predictor.training.samples import Sample

# A type measured less often, or in fewer families, shares a fallback: its own regressor would learn those few networks by heart.
LEAST_ROWS: Final = 40
LEAST_FAMILIES: Final = 4
# Types whose typical kernel computes more than this for a byte are matrix-like: element-wise kernels and reductions of single precision stay below
# (at most some tens of operations, as in an exponential, on at least eight bytes).
HEAVY_FLOPS_PER_BYTE: Final = 4.0
# Which recipe is best shows on this many rows, evenly taken; the regressor itself is fitted on all.
_CHOICE_ROWS: Final = 1500
_FEATURE_COUNT: Final = len(FEATURES)


@dataclass(frozen=True)
class KernelRows:
    """Measured kernels of many networks, one a row."""

    types: tuple[str, ...]
    families: tuple[str, ...]
    features: NDArray[np.float32]
    log_ratio: NDArray[np.float64]
    """log(measured / roofline)."""
    weight: NDArray[np.float64]
    """Square root of the share of its network's time: what matters to the sum counts more, but not alone."""
    milliseconds: NDArray[np.float64]

    def only(self, keep: NDArray[np.bool_]) -> "KernelRows":
        """The rows where `keep` is true."""
        index = np.flatnonzero(keep)
        return KernelRows(
            tuple(self.types[i] for i in index), tuple(self.families[i] for i in index), self.features[index],
            self.log_ratio[index], self.weight[index], self.milliseconds[index],
        )  # fmt: skip

    def of_type(self, name: str) -> NDArray[np.bool_]:
        """Which rows are of a kernel type."""
        return np.array([kind == name for kind in self.types])


@dataclass(frozen=True)
class KernelFit:
    """What a bundle needs of kernels."""

    table: KernelTable
    files: Mapping[str, bytes]

    def regressors(self) -> KernelRegressors:
        """As the serving code opens them."""
        return KernelRegressors(self.table, self.files)


def kernel_rows(samples: Iterable[Sample]) -> KernelRows:
    """All profiled kernels on whole cores, of profiles that agree with the unprofiled run."""
    types: list[str] = []
    families: list[str] = []
    features, ratios, weights, times = [], [], [], []
    for sample in samples:
        for measured in sample.measured.values():
            if measured.kernel_ms is None or measured.slice_.fractional or not measured.profile_agrees:
                continue
            seen = np.flatnonzero(np.isfinite(measured.kernel_ms))
            ms = measured.kernel_ms[seen]
            types += [sample.work.types[i] for i in seen]
            families += [sample.family] * len(seen)
            features.append(measured.features[seen])
            ratios.append(np.log(ms / measured.roofline_ms[seen]))
            weights.append(np.sqrt(ms / ms.sum()))
            times.append(ms)
    if not features:
        raise ValueError("no profiled kernels in the data set; measure it with `make dataset`")
    return KernelRows(tuple(types), tuple(families), np.concatenate(features), np.concatenate(ratios), np.concatenate(weights), np.concatenate(times))


def held_out(rows: KernelRows, recipe: Recipe, folds: Mapping[str, int], columns: Sequence[int]) -> NDArray[np.float64]:
    """Predictions for every row by a regressor that saw no row of its family's fold; NaN where nothing else was left to learn from."""
    fold = np.array([folds[family] for family in rows.families])
    found = np.full(len(fold), np.nan)
    for number in np.unique(fold):
        train, test = fold != number, fold == number
        if train.sum() >= LEAST_ROWS // 2:
            regressor = fit(recipe, rows.features[train][:, columns], rows.log_ratio[train], rows.weight[train])
            low, high = rows.log_ratio[train].min(), rows.log_ratio[train].max()
            found[test] = np.clip(regressor.predict(rows.features[test][:, columns]), low, high)
    return found


def _columns(rows: KernelRows) -> list[int]:
    """Features that vary at all in those rows."""
    spread = np.ptp(rows.features, axis=0)
    return [index for index in range(_FEATURE_COUNT) if spread[index] > 1e-6] or [FEATURES.index("log_roofline_ms")]


def choose(every: KernelRows, folds: Mapping[str, int], candidates: Sequence[Recipe] = RECIPES) -> tuple[Recipe, float]:
    """The best recipe on held-out families, and the 0.9 quantile of its absolute log error there."""
    step = -(-len(every.types) // _CHOICE_ROWS)
    rows = every.only(np.arange(len(every.types)) % step == 0)
    columns, best = _columns(rows), None
    for recipe in candidates:
        errors = np.abs(held_out(rows, recipe, folds, columns) - rows.log_ratio)
        known = np.isfinite(errors)
        if not known.any():
            continue
        cost = float(np.average(errors[known], weights=rows.weight[known]))
        if best is None or cost < best[0]:
            best = (cost, recipe, float(np.quantile(errors[known], 0.9)))
    if best is None:
        raise ValueError(f"{len(rows.types)} rows of {len(set(rows.families))} families: too few to hold any out")
    return best[1], best[2]


def judge(rows: KernelRows, recipe: Recipe, folds: Mapping[str, int]) -> NDArray[np.float64]:
    """`held_out` with the columns that vary in those rows."""
    return held_out(rows, recipe, folds, _columns(rows))


def _ceiling(rows: KernelRows) -> float:
    """The log ratio that 99 % of the measured time stays below."""
    order = np.argsort(rows.log_ratio)
    passed = np.cumsum(rows.milliseconds[order]) / rows.milliseconds.sum()
    return float(rows.log_ratio[order][np.searchsorted(passed, 0.99)])


def _table(name: str, rows: KernelRows, columns: Sequence[int], error_log: float) -> RegressorTable:
    chosen = rows.features[:, columns].astype(np.float64)
    return RegressorTable(
        file=f"kernels/{name}.onnx",
        columns=tuple(FEATURES[index] for index in columns),
        feature_lower=tuple(chosen.min(axis=0).tolist()),
        feature_upper=tuple(chosen.max(axis=0).tolist()),
        log_ratio_lower=float(rows.log_ratio.min()),
        log_ratio_upper=float(rows.log_ratio.max()),
        ceiling_log_ratio=_ceiling(rows),
        rows=len(rows.types),
        families=len(set(rows.families)),
        error_log=error_log,
    )


def groups(rows: KernelRows) -> tuple[dict[str, NDArray[np.bool_]], dict[str, str]]:
    """Rows of each regressor there shall be (types that are measured often, and the fallbacks), and the class of every type."""
    classes, found = {}, {}
    for name in sorted(set(rows.types)):
        mask = rows.of_type(name)
        intensity = np.median(rows.features[mask][:, FEATURES.index("log_intensity")])
        classes[name] = HEAVY if intensity > np.log(HEAVY_FLOPS_PER_BYTE) else LIGHT
        if mask.sum() >= LEAST_ROWS and len({rows.families[i] for i in np.flatnonzero(mask)}) >= LEAST_FAMILIES:
            found[name] = mask
    for kind in (LIGHT, HEAVY):
        mask = np.array([classes[name] == kind for name in rows.types])
        if mask.sum() >= LEAST_ROWS:
            found[kind] = mask
    return found, classes


def recipes_for(rows: KernelRows, folds: Mapping[str, int]) -> dict[str, tuple[Recipe, float]]:
    """Recipe and held-out error of each regressor."""
    found = groups(rows)[0]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        chosen = pool.map(choose, [rows.only(mask) for mask in found.values()], [dict(folds)] * len(found))
        return dict(zip(found, chosen, strict=True))


def fit_many(parts: Sequence[KernelRows], recipes: Mapping[str, tuple[Recipe, float]]) -> list[KernelFit]:
    """`fit_kernels` for several sets of rows, side by side."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(fit_kernels, parts, [dict(recipes)] * len(parts)))


def fit_kernels(rows: KernelRows, recipes: Mapping[str, tuple[Recipe, float]]) -> KernelFit:
    """Fits every regressor that those rows can carry, by the recipes already chosen."""
    found, classes = groups(rows)
    tables: dict[str, RegressorTable] = {}
    files: dict[str, bytes] = {}
    for name, mask in found.items():
        if name not in recipes:
            continue
        own = rows.only(mask)
        columns = _columns(own)
        recipe, error_log = recipes[name]
        regressor: Regressor = fit(recipe, own.features[:, columns], own.log_ratio, own.weight)
        tables[name] = _table(name, own, columns, error_log)
        files[tables[name].file] = to_model(regressor)
    return KernelFit(KernelTable(FEATURES, tables, classes), files)

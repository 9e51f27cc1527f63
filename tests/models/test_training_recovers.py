"""Training finds what is there, on a synthetic machine whose rule is known. No accuracy may rest on it."""

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the training extra")

from numpy.typing import NDArray
from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.forests import Forests
from stowplan_predictor.kernels.ranges import HEAVY, LIGHT
from stowplan_predictor.kernels.regressors import FeatureRegressor
from stowplan_predictor.kernels.subgraphs import NODES, Joined
from stowplan_predictor.training.kernels import boosted_trees, forests, type_regressors
from stowplan_predictor.training.kernels import rows as kernel_rows
from stowplan_predictor.training.kernels.boosted_trees import Boosting
from stowplan_predictor.training.kernels.regressions import RECIPES, Recipe, fit, to_model
from stowplan_predictor.training.kernels.rows import KernelRows
from stowplan_predictor.training.kernels.type_regressors import choose

pytestmark = pytest.mark.train

COLUMNS = len(FEATURES)
SMALL = Boosting(rounds=20, leaves=8, least_rows=5, bins=32)


def problem(rows: int = 300) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    features = np.random.default_rng(5).normal(size=(rows, 6)).astype(np.float32)
    return features, (features[:, 0] + features[:, 1] * features[:, 2]).astype(np.float64), np.ones(rows)


@pytest.mark.parametrize("recipe", [*RECIPES, Recipe("quadratic", quadratic=True, penalty=10.0, trees=0)], ids=lambda recipe: recipe.name)
def test_the_onnx_file_says_what_the_regressor_says(recipe: Recipe) -> None:
    """What serves is what was fitted, to single precision, and the same data gives the same bytes."""
    features, target, weight = problem()
    recipe = replace(recipe, trees=min(recipe.trees, 10))
    regressor = fit(recipe, features, target, weight)
    model = to_model(regressor)

    assert FeatureRegressor(model).values(features) == pytest.approx(regressor.predict(features), abs=1e-4)
    assert to_model(fit(recipe, features, target, weight)) == model


def test_boosted_trees_serve_what_they_learned() -> None:
    """Thresholds survive single precision: every row takes the same way through every tree."""
    features, target, weight = problem()
    model = boosted_trees.fit(features, target, weight, SMALL)

    served = FeatureRegressor(boosted_trees.to_model(model, 6)).values(features)

    assert served == pytest.approx(model.predict(features), abs=1e-5)
    assert 1 <= boosted_trees.best_rounds(model, features, target, weight) <= SMALL.rounds


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_row_is_answered_by_the_forest_of_its_type(count: int) -> None:
    """One file holds any number of forests; whichever a row asks says its trees' average, and the same forests give the same bytes."""
    rows = synthetic_rows()
    grown = [forests.grown(rows.only(np.arange(len(rows)) % count == number), number) for number in range(count)]
    content = forests.forests_file(grown)
    opened = Forests(content, COLUMNS)
    which = np.arange(len(rows)) % count

    expected = np.choose(which, [forest.predict(rows.features) for forest in grown])
    assert opened.values(rows.features, which) == pytest.approx(expected, abs=1e-5)
    assert forests.forests_file(grown) == content


def test_forests_that_lead_astray_are_refused() -> None:
    """A child before its parent would never end, a feature that is not there would be read beyond the row: both are refused when opened."""
    good: dict[str, NDArray[np.generic]] = {
        "feature": np.zeros(3, np.uint8),
        "value": np.zeros(3, np.float32),
        "right": np.array([2, -1, -1], np.int32),
        "roots": np.zeros((1, 1), np.int32),
    }
    wrong: list[dict[str, NDArray[np.generic]]] = [
        {"right": np.array([0, -1, -1], np.int32)},
        {"feature": np.full(3, 9, np.uint8)},
        {"roots": np.full((1, 1), 3, np.int32)},
    ]

    assert Forests(archive(good), 2).values(np.zeros((4, 2), np.float32), np.zeros(4, np.int64)).tolist() == [0.0] * 4
    for part in wrong:
        with pytest.raises(ValueError, match="forests whose"):
            Forests(archive({**good, **part}), 2)
    with pytest.raises(ValueError, match="no archive"):
        Forests(archive({"right": good["right"]}), 2)


def archive(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **arrays)
    return held.getvalue()


def synthetic_rows(count: int = 200) -> KernelRows:
    """Two types with known efficiencies: a heavy one that gets better with n, a light one at three times the roofline; and a third, rare."""
    generator = np.random.default_rng(5)
    features = generator.normal(size=(count, COLUMNS)).astype(np.float32)
    types = np.array(["Conv" if index % 2 else "Relu" for index in range(count)], dtype="<U8")
    types[:5] = "Rare"
    heavy = types == "Conv"
    features[:, FEATURES.index("log_intensity")] = np.where(heavy, 4.0, -1.0)
    ratio = np.where(heavy, 1.0 - 0.5 * features[:, FEATURES.index("log_n")], np.log(3.0))
    ratio = ratio + 0.01 * generator.normal(size=count)
    families = np.array([f"family-{index % 10}" for index in range(count)])
    empty = Joined((), np.zeros((0, len(NODES)), dtype=np.float32), np.zeros(0, dtype=np.int64), np.zeros((2, 0), dtype=np.int64), 0, ())
    splits, runtime = np.full(count, "zoo"), np.full(count, "")
    return KernelRows(types, families, splits, runtime, features, ratio, np.ones(count), np.ones(count), np.zeros(count, dtype=np.int64), empty)


def test_regressors_find_a_known_rule() -> None:
    """Held-out families are predicted to about the noise that was put in, and the rare type has no regressor of its own."""
    rows = synthetic_rows()

    found = type_regressors.fit_trees(rows, 0)

    assert set(found.table.files) == {"Conv", "Relu", LIGHT, HEAVY}
    assert np.median(found.errors["Conv"]) < 0.15
    assert np.median(found.errors["Relu"]) < 0.05


def test_the_recipe_is_chosen_on_families_held_out() -> None:
    """A linear rule is learned by the linear recipe: trees that know every family by heart do worse on one they have not seen."""
    rows = synthetic_rows()

    recipe, errors = choose(rows.only(rows.types == "Conv"))

    assert recipe.name in {"linear", "linear-trees"}
    assert np.quantile(errors, 0.9) < 0.3


def test_every_measured_type_belongs_to_a_class() -> None:
    """No measured kernel type is without a class, and the classes hold every row of theirs."""
    rows = synthetic_rows()
    members, kinds = kernel_rows.members(rows), kernel_rows.classes(rows)

    assert set(kinds) == set(rows.types)
    assert members[LIGHT].sum() + members[HEAVY].sum() == len(rows)


def test_a_range_holds_what_was_measured() -> None:
    """Bounds of features and of log ratios are those of the rows; the ceiling leaves one percent of the time above."""
    rows = synthetic_rows()
    rows = replace(rows, log_ratio=np.linspace(-1, 1, len(rows)))

    found = kernel_rows.type_range(rows, 0.3)

    assert (found.log_ratio_lower, found.log_ratio_upper, found.error_log) == (-1.0, 1.0, 0.3)
    assert found.feature_lower == tuple(rows.features.min(axis=0).tolist())
    assert 0.96 < found.ceiling_log_ratio < 1.0

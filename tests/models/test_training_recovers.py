"""Training finds what is there: regressors and dispatch costs of a synthetic machine whose rule is known. No accuracy may rest on it."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the training extra")

from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.regressors import HEAVY, LIGHT, open_session
from stowplan_predictor.training.kernel_fits import KernelRows, choose, fit_kernels, groups
from stowplan_predictor.training.regressions import RECIPES, Recipe, fit, to_model
from stowplan_predictor.training.scores import rank_correlation, score

pytestmark = pytest.mark.train

GENERATOR = np.random.default_rng(5)
COLUMNS = len(FEATURES)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_onnx_file_says_what_the_regressor_says(recipe: Recipe) -> None:
    """What serves is what was fitted, to single precision, and the same data gives the same bytes."""
    features = GENERATOR.normal(size=(300, 6)).astype(np.float32)
    target = features[:, 0] + features[:, 1] * features[:, 2]
    regressor = fit(recipe, features, target, np.ones(300))
    model = to_model(regressor)

    served = open_session(model).run(None, {"features": features})[0].reshape(-1)

    assert served == pytest.approx(regressor.predict(features), abs=1e-4)
    assert to_model(fit(recipe, features, target, np.ones(300))) == model


def synthetic_rows(count: int = 200) -> KernelRows:
    """Two types with known efficiencies: a heavy one that gets better with n, a light one at three times the roofline; and a third, rare."""
    features = GENERATOR.normal(size=(count, COLUMNS)).astype(np.float32)
    types = ["Conv" if index % 2 else "Relu" for index in range(count)]
    types[:5] = ["Rare"] * 5
    heavy = np.array([name == "Conv" for name in types])
    features[:, FEATURES.index("log_intensity")] = np.where(heavy, 4.0, -1.0)
    ratio = np.where(heavy, 1.0 - 0.5 * features[:, FEATURES.index("log_n")], np.log(3.0))
    ratio = ratio + 0.01 * GENERATOR.normal(size=count)
    families = tuple(f"family-{index % 10}" for index in range(count))
    return KernelRows(tuple(types), families, features, ratio, np.ones(count), np.ones(count))


def test_regressors_find_a_known_rule() -> None:
    """Held-out families are predicted to about the noise that was put in, and the fallbacks stand for the rare type."""
    rows = synthetic_rows()
    folds = {f"family-{index}": index % 5 for index in range(10)}

    recipes = {name: choose(rows.only(mask), folds, RECIPES[:2]) for name, mask in groups(rows)[0].items()}
    fit_ = fit_kernels(rows, recipes)

    assert recipes["Relu"][1] < 0.1
    assert recipes["Conv"][1] < 0.1
    assert set(fit_.table.regressors) == {"Conv", "Relu", LIGHT, HEAVY}
    assert fit_.table.classes == {"Conv": HEAVY, "Relu": LIGHT, "Rare": LIGHT}
    found = fit_.regressors().efficiencies(["Rare", "Conv"], ["a", "b"], rows.features[[0, 7]])
    assert found.log_ratio[0] == pytest.approx(np.log(3.0), abs=0.1)


def test_every_measured_type_belongs_to_a_class() -> None:
    """No measured kernel type is without a class, and fallbacks hold every row of theirs."""
    rows = synthetic_rows()
    found, classes = groups(rows)

    assert set(classes) == set(rows.types)
    assert found[LIGHT].sum() + found[HEAVY].sum() == len(rows.types)


def test_scores_of_known_predictions() -> None:
    """Ten percent too much everywhere is a MAPE of ten percent, without spread, in perfect rank order."""
    measured = [1.0, 2.0, 4.0, 8.0]
    found = score(measured, [1.1 * value for value in measured], ["a", "b", "c", "d"])

    assert (found.cases, found.mape_percent, found.mape_low_percent, found.mape_high_percent) == (4, 10.0, 10.0, 10.0)
    assert found.rank_correlation == 1.0
    assert rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1.0)
    assert rank_correlation(np.array([1.0, 1.0]), np.array([3.0, 2.0])) == 0.0


@pytest.mark.parametrize(("measured", "predicted"), [([], []), ([0.0], [1.0]), ([1.0], [float("nan")])])
def test_what_cannot_be_scored_is_refused(measured: list[float], predicted: list[float]) -> None:
    """No cases, a measurement of zero, or a prediction that is no number: an error and not a figure."""
    with pytest.raises(ValueError, match="cannot be judged"):
        score(measured, predicted, ["a"] * len(measured))

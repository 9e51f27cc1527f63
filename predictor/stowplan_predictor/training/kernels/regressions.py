"""Regressors that can be written as small ONNX graphs: ridge on features or their products, and gradient-boosted trees on what that leaves over."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from stowplan_predictor.training.kernels import boosted_trees
from stowplan_predictor.training.kernels.boosted_trees import Boosting
from stowplan_predictor.training.kernels.tree_files import constant, regressor_file, trees_node

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one regressor is made."""

    name: str
    quadratic: bool
    """Ridge on products of features too, else on features only."""
    penalty: float
    """Of the ridge, on standardised features; infinite: the mean only."""
    trees: int
    """Boosting rounds on the residuals; 0 for none."""


RECIPES: Final = (
    Recipe("linear", quadratic=False, penalty=3.0, trees=0),
    Recipe("trees", quadratic=False, penalty=np.inf, trees=80),
    Recipe("linear-trees", quadratic=False, penalty=30.0, trees=60),
)


@dataclass(frozen=True)
class Regressor:
    """A fitted regressor: offset + x w + x A x, plus trees on the raw features."""

    center: Matrix
    scale: Matrix
    offset: float
    weights: Matrix
    """(columns,)"""
    products: Matrix | None
    """(columns, columns), upper triangular."""
    trees: HistGradientBoostingRegressor | None

    def predict(self, features: NDArray[np.float32]) -> Matrix:
        """One value a row."""
        x = (features.astype(np.float64) - self.center) / self.scale
        found = self.offset + x @ self.weights
        if self.products is not None:
            found = found + ((x @ self.products) * x).sum(axis=1)
        if self.trees is not None:
            found = found + self.trees.predict(features)
        return np.asarray(found, dtype=np.float64)


def non_negative(design: Matrix, target: Matrix) -> Matrix:
    """Least squares with coefficients that are not negative, and no constant beside the columns."""
    found = LinearRegression(fit_intercept=False, positive=True).fit(design, target)
    return np.asarray(found.coef_, dtype=np.float64)


def _ridge(design: Matrix, target: Matrix, weight: Matrix, penalty: float) -> Matrix:
    """Weighted ridge without penalty on the mean, which the caller has taken off."""
    root = np.sqrt(weight)[:, None]
    left = design * root
    gram = left.T @ left + penalty * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(gram, left.T @ (target * root[:, 0])), dtype=np.float64)


def fit(recipe: Recipe, features: NDArray[np.float32], target: Matrix, weight: Matrix, seed: int = 0) -> Regressor:
    """Fits a regressor; the same data and seed give the same regressor."""
    columns = features.shape[1]
    weight = weight / weight.mean()
    values = features.astype(np.float64)
    center = np.average(values, axis=0, weights=weight)
    scale = np.sqrt(np.average((values - center) ** 2, axis=0, weights=weight))
    scale[scale < 1e-6] = 1.0
    x = (values - center) / scale
    offset, weights, products = float(np.average(target, weights=weight)), np.zeros(columns), None
    if np.isfinite(recipe.penalty):
        upper = np.triu_indices(columns)
        design = np.concatenate([x, x[:, upper[0]] * x[:, upper[1]]], axis=1) if recipe.quadratic else x
        mean = np.average(design, axis=0, weights=weight)
        found = _ridge(design - mean, target - offset, weight, recipe.penalty)
        offset -= float(mean @ found)
        weights = found[:columns]
        if recipe.quadratic:
            products = np.zeros((columns, columns))
            products[upper] = found[columns:]
    base = Regressor(center, scale, offset, weights, products, None)
    if not recipe.trees:
        return base
    boosting = Boosting(rounds=recipe.trees, rate=0.1, leaves=16, least_rows=6)
    trees = boosted_trees.fit(features, target - base.predict(features), weight, boosting, seed)
    return Regressor(center, scale, offset, weights, products, trees)


def to_model(regressor: Regressor) -> bytes:
    """The regressor as an ONNX file: `features` (n, columns) float32 to `log_ratio` (n, 1) float32."""
    columns = len(regressor.center)
    constants = [constant("center", regressor.center), constant("scale", regressor.scale), constant("offset", [regressor.offset])]
    constants.append(constant("weights", regressor.weights[:, None]))
    nodes = [
        helper.make_node("Sub", ["features", "center"], ["centered"]),
        helper.make_node("Div", ["centered", "scale"], ["x"]),
        helper.make_node("Gemm", ["x", "weights", "offset"], ["linear"]),
    ]
    result = "linear"
    if regressor.products is not None:
        constants += [constant("products", regressor.products), numpy_helper.from_array(np.array([1], dtype=np.int64), "axis")]
        nodes += [
            helper.make_node("MatMul", ["x", "products"], ["mixed"]),
            helper.make_node("Mul", ["mixed", "x"], ["squared"]),
            helper.make_node("ReduceSum", ["squared", "axis"], ["bent"], keepdims=1),
            helper.make_node("Add", [result, "bent"], ["quadratic"]),
        ]
        result = "quadratic"
    if regressor.trees is not None:
        constants.append(constant("baseline", [boosted_trees.baseline_of(regressor.trees)]))
        nodes.append(trees_node(list(boosted_trees.trees_of(regressor.trees)), "features", "grown"))
        nodes.append(helper.make_node("Add", ["grown", "baseline"], ["boosted"]))
        nodes.append(helper.make_node("Add", [result, "boosted"], ["total"]))
        result = "total"
    nodes.append(helper.make_node("Identity", [result], ["log_ratio"]))
    return regressor_file(nodes, constants, columns)

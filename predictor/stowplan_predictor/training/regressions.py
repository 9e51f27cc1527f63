"""Regressors that can be written as small ONNX graphs: ridge on features or their products, and gradient-boosted trees on what that leaves over."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression

Matrix = NDArray[np.float64]

_OPSET: Final = 17
_ML_OPSET: Final = 3
# What ONNX Runtime 1.23, the oldest we serve with, reads.
_IR_VERSION: Final = 10


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
    Recipe("quadratic", quadratic=True, penalty=100.0, trees=0),
    Recipe("trees", quadratic=False, penalty=np.inf, trees=100),
    Recipe("linear-trees", quadratic=False, penalty=3.0, trees=60),
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
    trees: GradientBoostingRegressor | None

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


def fit(recipe: Recipe, features: NDArray[np.float32], target: Matrix, weight: Matrix) -> Regressor:
    """Fits a regressor; the same data gives the same regressor."""
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
    trees = GradientBoostingRegressor(
        n_estimators=recipe.trees, learning_rate=0.12, max_depth=4, min_samples_leaf=6, subsample=0.7, max_features=0.5, init="zero", random_state=0
    )
    trees.fit(features, target - base.predict(features), sample_weight=weight)
    return Regressor(center, scale, offset, weights, products, trees)


def _tensor(name: str, values: Any) -> onnx.TensorProto:  # noqa: ANN401 - whatever NumPy takes
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)


def _below(threshold: float) -> float:
    """The largest single-precision number not above `threshold`: `x <= threshold` stays the same for single-precision x."""
    rounded = np.float32(threshold)
    return float(rounded if rounded <= threshold else np.nextafter(rounded, np.float32(-np.inf)))


def _trees_node(trees: GradientBoostingRegressor) -> onnx.NodeProto:
    """Boosted trees as one TreeEnsembleRegressor, from `features` to `boosted`. (skl2onnx 1.20 cannot write what scikit-learn 1.9 and onnx 1.23 make.)"""
    nodes: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    targets: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "weights")}
    for number, estimator in enumerate(trees.estimators_[:, 0]):
        tree = estimator.tree_
        for node in range(tree.node_count):
            leaf = tree.children_left[node] < 0
            nodes["treeids"].append(number)
            nodes["nodeids"].append(node)
            nodes["featureids"].append(0 if leaf else int(tree.feature[node]))
            nodes["values"].append(0.0 if leaf else _below(float(tree.threshold[node])))
            nodes["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["truenodeids"].append(0 if leaf else int(tree.children_left[node]))
            nodes["falsenodeids"].append(0 if leaf else int(tree.children_right[node]))
            if leaf:
                targets["treeids"].append(number)
                targets["nodeids"].append(node)
                targets["weights"].append(float(trees.learning_rate * tree.value[node, 0, 0]))
    attributes: dict[str, Any] = {f"nodes_{key}": values for key, values in nodes.items()} | {f"target_{key}": values for key, values in targets.items()}
    attributes["target_ids"] = [0] * len(targets["weights"])
    return helper.make_node("TreeEnsembleRegressor", ["features"], ["boosted"], domain="ai.onnx.ml", n_targets=1, **attributes)


def to_model(regressor: Regressor) -> bytes:
    """The regressor as an ONNX file: `features` (n, columns) float32 to `log_ratio` (n, 1) float32."""
    columns = len(regressor.center)
    constants = [_tensor("center", regressor.center), _tensor("scale", regressor.scale), _tensor("offset", [regressor.offset])]
    constants.append(_tensor("weights", regressor.weights[:, None]))
    nodes = [
        helper.make_node("Sub", ["features", "center"], ["centered"]),
        helper.make_node("Div", ["centered", "scale"], ["x"]),
        helper.make_node("Gemm", ["x", "weights", "offset"], ["linear"]),
    ]
    result = "linear"
    if regressor.products is not None:
        constants += [_tensor("products", regressor.products), numpy_helper.from_array(np.array([1], dtype=np.int64), "axis")]
        nodes += [
            helper.make_node("MatMul", ["x", "products"], ["mixed"]),
            helper.make_node("Mul", ["mixed", "x"], ["squared"]),
            helper.make_node("ReduceSum", ["squared", "axis"], ["bent"], keepdims=1),
            helper.make_node("Add", [result, "bent"], ["quadratic"]),
        ]
        result = "quadratic"
    if regressor.trees is not None:
        nodes.append(_trees_node(regressor.trees))
        nodes.append(helper.make_node("Add", [result, "boosted"], ["total"]))
        result = "total"
    nodes.append(helper.make_node("Identity", [result], ["log_ratio"]))
    graph = helper.make_graph(
        nodes,
        "log_ratio",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("log_ratio", TensorProto.FLOAT, [None, 1])],
        constants,
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="stowplan")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))

"""Histogram gradient boosting (scikit-learn's, after LightGBM; Ke et al., 2017) and its ONNX file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from sklearn.ensemble import HistGradientBoostingRegressor

from stowplan_predictor.training.kernels.tree_files import Tree, constant, regressor_file, trees_node

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Boosting:
    """How trees are grown."""

    rounds: int = 300
    rate: float = 0.07
    leaves: int = 31
    least_rows: int = 12
    """In a leaf."""
    ridge: float = 1.0
    """L2 penalty on leaf values."""
    share: float = 0.5
    """Of the columns that each split may choose from."""
    bins: int = 255
    """A column's values fall into that many. With weights each edge is a weighted quantile, which takes longer than growing small trees."""


DEFAULT: Final = Boosting()


def fit(features: NDArray[np.float32], target: Matrix, weight: Matrix, boosting: Boosting = DEFAULT, seed: int = 0) -> HistGradientBoostingRegressor:
    """Grows trees; the same data and seed give the same trees."""
    model = HistGradientBoostingRegressor(
        max_iter=boosting.rounds,
        learning_rate=boosting.rate,
        max_leaf_nodes=boosting.leaves,
        min_samples_leaf=boosting.least_rows,
        l2_regularization=boosting.ridge,
        max_features=boosting.share,
        max_bins=boosting.bins,
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(features, target, sample_weight=weight / weight.mean())


def best_rounds(model: HistGradientBoostingRegressor, features: NDArray[np.float32], target: Matrix, weight: Matrix) -> int:
    """After how many rounds the weighted absolute error on rows that were not learned from is least."""
    errors = [float(np.average(np.abs(guess - target), weights=weight)) for guess in model.staged_predict(features)]
    return int(np.argmin(errors)) + 1


def trees_of(model: HistGradientBoostingRegressor) -> Iterator[Tree]:
    """The grown trees; their sum and the baseline are the prediction."""
    for stage in model._predictors:  # noqa: SLF001 - scikit-learn offers no other way to its trees
        nodes = stage[0].nodes
        leaf = nodes["is_leaf"].astype(bool)
        yield Tree(
            feature=nodes["feature_idx"].astype(np.int64),
            threshold=nodes["num_threshold"].astype(np.float64),
            left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
            right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
            value=nodes["value"].astype(np.float64),
        )


def baseline_of(model: HistGradientBoostingRegressor) -> float:
    """What the trees start from."""
    return float(np.asarray(model._baseline_prediction).reshape(-1)[0])  # noqa: SLF001 - as above


def to_model(model: HistGradientBoostingRegressor, columns: int) -> bytes:
    """An ONNX file: `features` (n, columns) float32 to `log_ratio` (n, 1) float32."""
    nodes = [
        trees_node(list(trees_of(model)), "features", "boosted"),
        helper.make_node("Add", ["boosted", "baseline"], ["log_ratio"]),
    ]
    return regressor_file(nodes, [constant("baseline", [baseline_of(model)])], columns)

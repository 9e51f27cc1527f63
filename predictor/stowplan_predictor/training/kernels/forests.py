"""Random forests, one a kernel type and one a class as a fallback, in one file that asks each row for its type first.

Forests on kernels that fusion rules found are the way of nn-Meter (Zhang et al., MobiSys 2021). Leaves of several rows and as many trees as the error still
falls with keep the file at a few megabytes; a session a type would take more memory than all of its trees.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from stowplan_predictor.kernels.members import POOLED, MemberTable
from stowplan_predictor.training.kernels.rows import KernelRows, members
from stowplan_predictor.training.kernels.tree_files import Tree, regressor_file, selected, trees_node
from stowplan_predictor.training.kernels.type_regressors import TypeFit, family_parts, thinned

_TREES: Final = 40
_LEAST_ROWS: Final = 3
# Of the columns that each split may choose from.
_SHARE: Final = 0.4
# A forest remembers what it saw: on more rows its file grows and its error does not fall.
_MOST_ROWS: Final = 5000
# Of families, one of which is held out to tell the error.
_PARTS: Final = 3


def grown(rows: KernelRows, seed: int) -> RandomForestRegressor:
    """A forest for rows of one type; the same rows and seed give the same forest."""
    forest = RandomForestRegressor(_TREES, max_features=_SHARE, min_samples_leaf=_LEAST_ROWS, n_jobs=1, random_state=seed)
    return forest.fit(rows.features, rows.log_ratio, sample_weight=rows.weight)


def trees_of(forest: RandomForestRegressor) -> list[Tree]:
    """Its trees, whose sum is the forest's mean."""
    count = len(forest.estimators_)
    return [
        Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, tree.value[:, 0, 0] / count)
        for tree in (estimator.tree_ for estimator in forest.estimators_)
    ]


def forests_file(forests: Sequence[RandomForestRegressor], columns: int) -> bytes:
    """An ONNX file: features (n, columns) and behind them the forest to ask, counted from 1, to `log_ratio` (n, 1)."""
    trees = [selected(same, columns) for same in zip(*map(trees_of, forests), strict=True)]
    return regressor_file([trees_node(trees, "features", "log_ratio")], [], columns + 1)


def _held_out_errors(rows: KernelRows, seed: int) -> NDArray[np.float64]:
    """Absolute log errors of a part of the families by a forest of the others; nothing where there is but one family."""
    held = family_parts(rows.families, _PARTS) == 0
    if not 1 < (~held).sum() < len(rows):
        return np.zeros(0)
    return np.asarray(np.abs(grown(rows.only(~held), seed).predict(rows.features[held]) - rows.log_ratio[held]))


def fit_forests(rows: KernelRows, seed: int) -> TypeFit:
    """Each type by a forest of its own."""
    path = "kernels/forests.onnx"
    own = {key: thinned(rows.only(mask), _MOST_ROWS) for key, mask in members(rows).items()}
    forests = [grown(some, seed) for some in own.values()]
    errors = {key: _held_out_errors(some, seed) for key, some in own.items()}
    return TypeFit(MemberTable(POOLED, {"": path}, 1.0, tuple(own)), {path: forests_file(forests, rows.features.shape[1])}, errors)

"""Random forests, one a kernel type and one a class as a fallback, in one file of arrays.

Forests on kernels that fusion rules found are the way of nn-Meter (Zhang et al., MobiSys 2021).
"""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from stowplan_predictor.kernels.forests import LEAF
from stowplan_predictor.kernels.members import FORESTS, MemberTable
from stowplan_predictor.training.kernels.rows import KernelRows, members
from stowplan_predictor.training.kernels.tree_files import below
from stowplan_predictor.training.kernels.type_regressors import TypeFit, family_parts, thinned

_TREES: Final = 32
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


def forests_file(forests: Sequence[RandomForestRegressor]) -> bytes:
    """What `kernels.forests` reads; the same forests give the same bytes."""
    trees = [[estimator.tree_ for estimator in forest.estimators_] for forest in forests]
    parts = [part for same in trees for part in same]
    starts = np.concatenate([[0], np.cumsum([part.node_count for part in parts])])
    leaves = [part.children_left < 0 for part in parts]
    for part, leaf in zip(parts, leaves, strict=True):
        # Scikit-learn grows depth first, left before right.
        if not (part.children_left[~leaf] == np.flatnonzero(~leaf) + 1).all():
            raise ValueError("a tree whose left children are not behind their parents")
    held = io.BytesIO()
    np.savez_compressed(
        held,
        allow_pickle=False,
        feature=np.concatenate([np.where(leaf, 0, part.feature) for part, leaf in zip(parts, leaves, strict=True)]).astype(np.uint8),
        value=np.concatenate([np.where(leaf, part.value[:, 0, 0], below(part.threshold)) for part, leaf in zip(parts, leaves, strict=True)]).astype(np.float32),
        right=np.concatenate([np.where(leaf, LEAF, part.children_right + start) for part, leaf, start in zip(parts, leaves, starts[:-1], strict=True)]).astype(
            np.int32
        ),
        roots=starts[:-1].reshape(len(trees), -1).astype(np.int32),
    )
    return held.getvalue()


def _held_out_errors(rows: KernelRows, seed: int) -> NDArray[np.float64]:
    """Absolute log errors of a part of the families by a forest of the others; nothing where there is but one family."""
    held = family_parts(rows.families, _PARTS) == 0
    if not 1 < (~held).sum() < len(rows):
        return np.zeros(0)
    return np.asarray(np.abs(grown(rows.only(~held), seed).predict(rows.features[held]) - rows.log_ratio[held]))


def fit_forests(rows: KernelRows, seed: int) -> TypeFit:
    """Each type by a forest of its own."""
    path = "kernels/forests.npz"
    own = {key: thinned(rows.only(mask), _MOST_ROWS) for key, mask in members(rows).items()}
    forests = [grown(some, seed) for some in own.values()]
    errors = {key: _held_out_errors(some, seed) for key, some in own.items()}
    return TypeFit(MemberTable(FORESTS, {"": path}, 1.0, tuple(own)), {path: forests_file(forests)}, errors)

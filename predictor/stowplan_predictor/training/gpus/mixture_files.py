"""Mixtures as ONNX files: a family's features in, log(latency / bound) out, variants and their chances inside."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier

from stowplan_predictor.gpus.features import FEATURES, PLAIN, columns_of, offsets_of
from stowplan_predictor.training.gpus.mixtures import ANY, LEAST_CHANCE, LIBRARY_COLUMNS, Family
from stowplan_predictor.training.kernels.boosted_trees import baseline_of, trees_of
from stowplan_predictor.training.kernels.tree_files import Tree, constant, regressor_file, trees_node

_COLUMNS = len(FEATURES) + 1


def to_model(model: Family, family: str) -> bytes:
    """An ONNX file: `features` (n, len(FEATURES) + 1) float32 to `log_ratio` (n, 1) float32."""
    return _mixture(model, family) if model.choosers else _single(model)


def _integers(values: Mapping[str, Any]) -> list[TensorProto]:
    return [numpy_helper.from_array(np.asarray(numbers, dtype=np.int64), name) for name, numbers in values.items()]


def _single(model: Family) -> bytes:
    """One kernel: trees on the plain features and the number of the kind."""
    nodes = [
        helper.make_node("Gather", ["features", "wanted"], ["plain"], axis=1),
        trees_node(list(trees_of(model.regressor)), "plain", "grown"),
        helper.make_node("Add", ["grown", "baseline"], ["log_ratio"]),
    ]
    constants = [constant("baseline", [baseline_of(model.regressor)]), *_integers({"wanted": [*range(PLAIN), len(FEATURES)]})]
    return regressor_file(nodes, constants, _COLUMNS)


def _mixture(model: Family, family: str) -> bytes:
    mine, own = columns_of(family), offsets_of(family)
    variants, width = mine.shape
    nodes = [
        helper.make_node("Gather", ["features", "mine"], ["gathered"], axis=1),
        helper.make_node("Reshape", ["gathered", "a_row_each"], ["blocks"]),
        trees_node(list(trees_of(model.regressor)), "blocks", "grown"),
        helper.make_node("Reshape", ["grown", "a_column_each"], ["over_own"]),
        helper.make_node("Gather", ["features", "own"], ["own_over_bound"], axis=1),
        helper.make_node("Add", ["over_own", "own_over_bound"], ["over_bound"]),
        helper.make_node("Add", ["over_bound", "baseline"], ["each"]),
    ]
    constants = [constant("baseline", [baseline_of(model.regressor)]), constant("least_chance", [LEAST_CHANCE])]
    constants += _integers({"mine": mine.reshape(-1), "own": own, "a_row_each": [-1, width], "a_column_each": [-1, variants], "axis": [1]})
    chances = "least_chance"
    for library, column in LIBRARY_COLUMNS.items():
        some, more = _chances(model.choosers.get(library, model.choosers[ANY]), library, column, variants)
        nodes += [*some, helper.make_node("Add", [chances, f"{library}_chances"], [f"chances_with_{library}"])]
        constants += more
        chances = f"chances_with_{library}"
    nodes += [
        helper.make_node("Mul", ["each", chances], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axis"], ["summed"], keepdims=1),
        helper.make_node("ReduceSum", [chances, "axis"], ["whole"], keepdims=1),
        helper.make_node("Div", ["summed", "whole"], ["log_ratio"]),
    ]
    return regressor_file(nodes, constants, _COLUMNS)


def _chances(chooser: HistGradientBoostingClassifier, library: str, column: int, variants: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """(n, variants): chances on GPUs of a library, 0 on others."""
    stages = chooser._predictors  # noqa: SLF001 - scikit-learn offers no other way to its trees
    grown = len(stages[0])
    known = chooser.classes_
    # Of two classes only the second one has scores.
    spread = np.eye(len(known))[len(known) - grown :]
    baselines = np.asarray(chooser._baseline_prediction).reshape(-1) @ spread  # noqa: SLF001 - as above
    places = np.zeros((len(known), variants))
    places[np.arange(len(known)), known] = 1.0
    nodes = [trees_node(_trees(chooser, place), "features", f"{library}_tree_score_{place}") for place in range(grown)]
    nodes += [
        helper.make_node("Concat", [f"{library}_tree_score_{place}" for place in range(grown)], [f"{library}_tree_scores"], axis=1),
        helper.make_node("MatMul", [f"{library}_tree_scores", f"{library}_spread"], [f"{library}_spread_scores"]),
        helper.make_node("Add", [f"{library}_spread_scores", f"{library}_baselines"], [f"{library}_scores"]),
        helper.make_node("Softmax", [f"{library}_scores"], [f"{library}_of_known"], axis=1),
        helper.make_node("MatMul", [f"{library}_of_known", f"{library}_places"], [f"{library}_of_all"]),
        helper.make_node("Gather", ["features", f"{library}_column"], [f"{library}_applies"], axis=1),
        helper.make_node("Mul", [f"{library}_of_all", f"{library}_applies"], [f"{library}_chances"]),
    ]
    constants = [
        constant(f"{library}_spread", spread), constant(f"{library}_baselines", baselines), constant(f"{library}_places", places),
        *_integers({f"{library}_column": [column]}),
    ]  # fmt: skip
    return nodes, constants


def _trees(chooser: HistGradientBoostingClassifier, place: int) -> list[Tree]:
    stages = chooser._predictors  # noqa: SLF001 - as above
    return list(trees_of(SimpleNamespace(_predictors=[[stage[place]] for stage in stages])))

"""Trees of any learner as one ONNX `TreeEnsembleRegressor` node. (skl2onnx 1.20 cannot write what scikit-learn 1.9 and onnx 1.23 make.)"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
ML_OPSET: Final = 3
# What ONNX Runtime 1.23, the oldest we serve with, reads.
IR_VERSION: Final = 10


@dataclass(frozen=True)
class Tree:
    """One regression tree: where `left` is negative, the node is a leaf; else rows with features[feature] <= threshold go left."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]


def below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest single-precision numbers not above `thresholds`: `x <= threshold` stays the same for single-precision x."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded <= thresholds, rounded, np.nextafter(rounded, np.float32(-np.inf))).astype(np.float32)


def trees_node(trees: Sequence[Tree], source: str, target: str) -> onnx.NodeProto:
    """The sum of some trees, from `source` (n, columns) to `target` (n, 1)."""
    nodes: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    targets: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "weights")}
    for number, tree in enumerate(trees):
        leaf = tree.left < 0
        count = len(leaf)
        nodes["treeids"] += [number] * count
        nodes["nodeids"] += range(count)
        nodes["featureids"] += np.where(leaf, 0, tree.feature).tolist()
        nodes["values"] += np.where(leaf, np.float32(0.0), below(tree.threshold)).tolist()
        nodes["modes"] += np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
        nodes["truenodeids"] += np.where(leaf, 0, tree.left).tolist()
        nodes["falsenodeids"] += np.where(leaf, 0, tree.right).tolist()
        targets["treeids"] += [number] * int(leaf.sum())
        targets["nodeids"] += np.flatnonzero(leaf).tolist()
        targets["weights"] += tree.value[leaf].astype(float).tolist()
    attributes: dict[str, Any] = {f"nodes_{key}": values for key, values in nodes.items()} | {f"target_{key}": values for key, values in targets.items()}
    attributes["target_ids"] = [0] * len(targets["weights"])
    return helper.make_node("TreeEnsembleRegressor", [source], [target], domain="ai.onnx.ml", n_targets=1, **attributes)


def constant(name: str, values: Any) -> onnx.TensorProto:  # noqa: ANN401 - whatever NumPy takes
    """A single-precision initializer."""
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)


def regressor_file(nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto], columns: int) -> bytes:
    """An ONNX file from `features` (n, columns) float32 to `log_ratio` (n, 1) float32; the same content gives the same bytes."""
    graph = helper.make_graph(
        list(nodes),
        "log_ratio",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("log_ratio", TensorProto.FLOAT, [None, 1])],
        list(constants),
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="stowplan")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))

"""Inputs fit the network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.measuring import inputs


@dataclass
class _Input:
    name: str
    shape: list[Any]
    type: str


def _embedding(rows: int) -> onnx.ModelProto:
    table = numpy_helper.from_array(np.zeros((rows, 4), np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "tokens"], ["out"])],
        "g",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, 500])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [table],
    )
    return helper.make_model(graph)


def test_tokens_stay_inside_the_vocabulary() -> None:
    """An index beyond the table would crash the run."""
    bounds = inputs.index_bounds(_embedding(7))
    tokens = inputs.random_inputs([_Input("tokens", [1, 500], "tensor(int64)")], bounds, {})["tokens"]

    assert bounds == {"tokens": 7}
    assert tokens.dtype == np.int64
    assert 0 <= tokens.min() <= tokens.max() < 7
    assert len(np.unique(tokens)) > 1


def test_masks_mask_nothing() -> None:
    """Masked-out tokens would be work that is skipped."""
    mask = inputs.random_inputs([_Input("attention_mask", [2, 8], "tensor(int64)")], {}, {})["attention_mask"]

    assert mask.tolist() == [[1] * 8] * 2


def test_same_seed_same_inputs() -> None:
    """Two measurements of one network see the same request."""
    item = [_Input("x", [3, 4], "tensor(float)")]

    assert np.array_equal(inputs.random_inputs(item, {}, {}, 3)["x"], inputs.random_inputs(item, {}, {}, 3)["x"])


@pytest.mark.parametrize(
    ("shape", "given", "words"),
    [
        (["batch", 3], {}, "have no value"),
        ([1, 3], {"x": (1, 4)}, "does not fit"),
        ([1, 3], {"x": (1, 3, 1)}, "does not fit"),
        (["n", "m"], {"x": (10**9, 10**9)}, "larger than"),
    ],
)
def test_shapes_that_cannot_be_served_are_named(shape: list[Any], given: dict[str, tuple[int, ...]], words: str) -> None:
    """Open, contradicting and absurd shapes are errors that name the input."""
    with pytest.raises(RuntimeRefused, match=f"input x: .*{words}"):
        inputs.random_inputs([_Input("x", shape, "tensor(float)")], {}, given)


def test_unknown_types_are_named() -> None:
    """No values are invented for types we do not know."""
    with pytest.raises(RuntimeRefused, match="no values are known for type tensor\\(string\\)"):
        inputs.random_inputs([_Input("x", [1], "tensor(string)")], {}, {})

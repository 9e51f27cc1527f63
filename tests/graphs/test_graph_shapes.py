"""Shapes: every dimension is bound, what only makes shapes is folded away, and what does not fit is named."""

import numpy as np
import pytest
from onnx import helper
from stowplan_predictor.errors import DimensionUnbound, ShapeRefused
from stowplan_predictor.graphs.loading import load_graph
from support.onnx_models import RELU, ints, model, operator_types, zeros


def test_input_shapes_bind_dynamic_dimensions() -> None:
    """A symbol that one input binds is bound for the other inputs, too."""
    proto = model([helper.make_node("Add", ["x", "z"], ["y"])], {"x": ("batch", 3), "z": ("batch", 1)})

    graph = load_graph(proto.SerializeToString(), {"x": (7, 3)})

    assert (graph.tensors["y"].shape, graph.tensors["z"].shape) == ((7, 3), (7, 1))


def test_an_unbound_dimension_names_input_dimension_and_remedy() -> None:
    """The message can be pasted into a command."""
    proto = model([RELU], {"x": ("batch", 3)})

    with pytest.raises(DimensionUnbound, match=r"input 'x': dimension 0 \('batch'\).*--shape x=Nx3.*inputShapes: \{x: \[N, 3\]\}"):
        load_graph(proto.SerializeToString())


def test_an_input_without_a_rank_must_be_bound() -> None:
    """No shape at all is no excuse for a guess; with one it works."""
    proto = model([RELU], {"x": None})

    with pytest.raises(DimensionUnbound, match="not even the number of dimensions"):
        load_graph(proto.SerializeToString())
    assert load_graph(proto.SerializeToString(), {"x": (2, 2)}).flops == 4


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 3)}, "no such input; it has x"),
        ({"x": (1, 4)}, "dimension 1 is 4, the model fixes it to 3"),
        ({"x": (1, 3, 1)}, "has 3 dimensions, the model declares 2"),
        ({"x": (-1, 3)}, "not negative"),
        ({"x": (10**9, 3)}, "more than"),
    ],
)
def test_wrong_input_shapes_are_refused(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    """What contradicts the model never reaches the analysis."""
    with pytest.raises(ShapeRefused, match=message):
        load_graph(model([RELU], {"x": ("n", 3)}).SerializeToString(), shapes)


def test_contradicting_symbols_are_refused() -> None:
    """One name, one size."""
    proto = model([helper.make_node("Add", ["x", "z"], ["y"])], {"x": ("n", 3), "z": ("n", 3)})

    with pytest.raises(ShapeRefused, match="binds 'n' to 2"):
        load_graph(proto.SerializeToString(), {"x": (2, 3), "z": (1, 3)})


def test_shape_arithmetic_folds_away() -> None:
    """What an exporter computes from a bound shape costs nothing at run time."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["batch"]),
        helper.make_node("Div", ["total", "batch"], ["rest"]),
        helper.make_node("Unsqueeze", ["batch", "axis"], ["b"]),
        helper.make_node("Unsqueeze", ["rest", "axis"], ["r"]),
        helper.make_node("Concat", ["b", "r"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = {"zero": np.array(0, np.int64), "total": np.array(24, np.int64), "axis": ints(0)}
    proto = model(nodes, {"x": ("n", 3, 4)}, constants=constants)

    graph = load_graph(proto.SerializeToString(), {"x": (2, 3, 4)})

    assert [op.op_type for op in graph.operators] == ["Reshape"]
    assert graph.tensors["y"].shape == (2, 12)


def test_what_only_feeds_a_shape_is_not_an_operator() -> None:
    """Its reader folds, so nobody needs it."""
    nodes = [
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("Shape", ["e"], ["s"]),
        helper.make_node("Expand", ["w", "s"], ["big"]),
        helper.make_node("Add", ["x", "big"], ["y"]),
    ]

    assert operator_types(model(nodes, {"x": (4, 4)}, constants={"w": zeros(1)})) == ["Add"]


def test_nonzero_of_a_constant_has_a_shape() -> None:
    """Window masks of exported transformers are found this way."""
    nodes = [helper.make_node("NonZero", ["m"], ["i"]), helper.make_node("Gather", ["x", "i"], ["y"])]
    graph = load_graph(model(nodes, {"x": (9, 2)}, constants={"m": np.array([1, 0, 1], np.int64)}).SerializeToString())

    assert graph.tensors["y"].shape == (1, 2, 2)


def test_nonzero_of_a_request_is_refused() -> None:
    """A shape that depends on the request's values is not guessed."""
    with pytest.raises(ShapeRefused, match="computed at run time"):
        load_graph(model([helper.make_node("NonZero", ["x"], ["y"])], {"x": (9,)}).SerializeToString())


def test_misfitting_shapes_are_refused_with_the_node() -> None:
    """The message names the node and what ONNX says of it."""
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": (2, 3)}, constants={"w": zeros(4, 5)})

    with pytest.raises(ShapeRefused, match=r"node 'fc' \(MatMul\): its inputs do not fit"):
        load_graph(proto.SerializeToString())

"""Files that are none, broken or made to exhaust: each ends in a named error."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from stowplan_predictor.errors import GraphTooLarge, ModelUnreadable, OperatorUnknown, ShapeRefused
from stowplan_predictor.graphs.limits import Limits
from stowplan_predictor.graphs.loading import load_graph
from support.onnx_models import RELU, ints, model, zeros


@pytest.mark.parametrize("content", [b"not a model at all", b"\x00" * 100, b"\xff" * 64, b""])
def test_what_is_not_onnx_is_unreadable(content: bytes) -> None:
    """Any other file is refused by name."""
    with pytest.raises(ModelUnreadable, match="ONNX"):
        load_graph(content)


def test_every_truncation_is_refused() -> None:
    """A file that ends early is never taken for a smaller model with the same answer."""
    proto = model([RELU], {"x": (3,)})
    content = proto.SerializeToString()
    whole = load_graph(content)

    for end in range(len(content)):
        try:
            graph = load_graph(content[:end])
        except (ModelUnreadable, ShapeRefused, OperatorUnknown):
            continue
        # Only what follows the graph (further opset imports) may be missing.
        assert graph.digest == whole.digest


def test_cycles_duplicates_and_gaps_are_unreadable() -> None:
    """Each is named with the node that shows it."""
    cycle = [helper.make_node("Add", ["x", "b"], ["a"], name="one"), helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["y"])]
    with pytest.raises(ModelUnreadable, match=r"node 'one' \(Add\): waits for its own output"):
        load_graph(model(cycle, {"x": (3,)}).SerializeToString())
    with pytest.raises(ModelUnreadable, match="writes 'y', which node 'act'"):
        load_graph(model([RELU, helper.make_node("Exp", ["x"], ["y"])], {"x": (3,)}).SerializeToString())
    with pytest.raises(ModelUnreadable, match="'z' is read, and nothing writes it"):
        load_graph(model([helper.make_node("Relu", ["z"], ["y"])], {"x": (3,)}).SerializeToString())


@pytest.mark.parametrize("op_type", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_shapes_of_a_billion_elements_are_refused(op_type: str) -> None:
    """Nothing of that size is ever allocated: the run would take gigabytes and fail its time limit."""
    many = ints(10**9)
    constants = {
        "ConstantOfShape": {"s": many},
        "Expand": {"w": zeros(1), "s": many},
        "Tile": {"w": zeros(1), "s": many},
        "Range": {"a": np.array(0), "b": np.array(10**18), "c": np.array(1)},
    }[op_type]
    nodes = [
        helper.make_node(op_type, list(constants), ["big"]),
        helper.make_node("Cast", ["big"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]

    with pytest.raises(ShapeRefused, match="elements"):
        load_graph(model(nodes, {"x": (1,)}, constants=constants).SerializeToString())


def test_absurd_work_is_refused() -> None:
    """Sums that would overflow somebody's integers end here."""
    nodes = [helper.make_node("MatMul", ["x", "z"], ["y"])]

    with pytest.raises(ShapeRefused, match="floating-point operations"):
        load_graph(model(nodes, {"x": (16384, 16384), "z": (16384, 16384)}).SerializeToString(), limits=Limits(max_flops=10**12))


def test_too_many_nodes_bytes_and_fields_are_refused() -> None:
    """The limits hold, each under its own words."""
    names = ["x", *(f"t{i}" for i in range(50)), "y"]
    content = model([helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)], {"x": (1,)}).SerializeToString()
    with pytest.raises(GraphTooLarge, match="more than 10 nodes"):
        load_graph(content, limits=Limits(max_nodes=10))
    with pytest.raises(GraphTooLarge, match="keep the weights in external data"):
        load_graph(content, limits=Limits(max_file_bytes=100))
    with pytest.raises(GraphTooLarge, match="even without large weights"):
        load_graph(content, limits=Limits(max_structure_bytes=100))
    with pytest.raises(GraphTooLarge, match="more than 3 fields"):
        load_graph(content, limits=Limits(max_fields=3))


def test_bombs_of_empty_messages_are_refused() -> None:
    """A node of a few hundred bytes that holds nothing but empty attributes unpacks to a hundred times its size; the sum is bounded before."""
    proto = model([RELU], {"x": (1,)})
    bomb = onnx.NodeProto.FromString(b"\x2a\x00" * 200)
    proto.graph.node.extend([bomb] * 200)

    with pytest.raises(GraphTooLarge, match="parts"):
        load_graph(proto.SerializeToString(), limits=Limits(max_parts=10_000))


def test_a_name_that_is_not_text_is_unreadable() -> None:
    """Damaged names stop at the door."""
    content = model([RELU], {"x": (3,)}).SerializeToString().replace(b"Relu", b"R\xffu\xfe")

    with pytest.raises(ModelUnreadable, match="UTF-8"):
        load_graph(content)

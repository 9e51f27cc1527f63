"""Branches and functions are inlined where they are decided; what cannot be, or is of no known operator, is refused by name."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper
from stowplan_predictor.errors import GraphTooLarge, OperatorUnknown
from stowplan_predictor.graphs.limits import Limits
from stowplan_predictor.graphs.loading import load_graph
from support.onnx_models import model, operator_types, zeros


def _branching(condition: str, **constants: np.ndarray) -> onnx.ModelProto:
    then = helper.make_graph([helper.make_node("Relu", ["x"], ["t"], name="in")], "then", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)])
    other = helper.make_graph([helper.make_node("Exp", ["x"], ["t"])], "else", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)])
    nodes = [
        helper.make_node("If", [condition], ["a"], then_branch=then, else_branch=other),
        helper.make_node("If", [condition], ["b"], then_branch=then, else_branch=other),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    return model(nodes, {"x": (3,)}, constants=constants)


def test_decided_branches_are_inlined() -> None:
    """The branch that runs is counted, each time it runs, though both use the same names."""
    assert operator_types(_branching("c", c=np.array(True))) == ["Relu", "Relu", "Add"]
    assert operator_types(_branching("c", c=np.array(False))) == ["Exp", "Exp", "Add"]


def test_undecided_branches_and_loops_are_refused() -> None:
    """A branch that depends on the request has no one cost."""
    proto = _branching("c")
    proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    with pytest.raises(OperatorUnknown, match=r"\(If\): which branch runs depends on data"):
        load_graph(proto.SerializeToString())

    loop = helper.make_node("Loop", ["m", "", "x"], ["y"], body=helper.make_graph([], "body", [], []))
    with pytest.raises(OperatorUnknown, match="how often its body runs depends on data"):
        load_graph(model([loop], {"x": (3,)}, constants={"m": np.array(3, np.int64)}).SerializeToString())


def _function(name: str, nodes: list[onnx.NodeProto], attributes: tuple[str, ...] = ()) -> onnx.FunctionProto:
    return helper.make_function("local", name, ["x"], ["y"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)], attributes)


def _calling(functions: list[onnx.FunctionProto], call: onnx.NodeProto) -> bytes:
    proto = model([call], {"x": (4,)}, functions=functions)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    return bytes(proto.SerializeToString())


def test_functions_are_inlined_with_their_attributes() -> None:
    """A call is what its body does."""
    inner = helper.make_node("LeakyRelu", ["x"], ["y"])
    reference = AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT)
    inner.attribute.append(reference)
    call = helper.make_node("Leaky", ["x"], ["y"], domain="local", slope=0.5)

    [op] = load_graph(_calling([_function("Leaky", [inner], ("slope",))], call)).operators

    assert (op.op_type, op.attributes["alpha"]) == ("LeakyRelu", 0.5)


def test_function_bombs_are_refused() -> None:
    """Twelve functions that call the next one ten times each: 10^12 nodes from a kilobyte."""
    bodies = []
    for level in range(12):
        names = ["x", *(f"t{i}" for i in range(9)), "y"]
        bodies.append(
            _function(
                f"F{level}",
                [helper.make_node(f"F{level + 1}" if level < 11 else "Relu", [a], [b], domain="local" if level < 11 else "") for a, b in pairwise(names)],
            )
        )

    with pytest.raises(GraphTooLarge, match="more than 1000 nodes"):
        load_graph(_calling(bodies, helper.make_node("F0", ["x"], ["y"], domain="local")), limits=Limits(max_nodes=1000))


def test_a_function_that_calls_itself_is_refused() -> None:
    """Nesting ends somewhere."""
    body = _function("F", [helper.make_node("F", ["x"], ["y"], domain="local")])

    with pytest.raises(GraphTooLarge, match="calls itself"):
        load_graph(_calling([body], helper.make_node("F", ["x"], ["y"], domain="local")))


def test_an_unknown_operator_is_named() -> None:
    """Operator, domain and node stand in the message."""
    proto = model([helper.make_node("Warp", ["x"], ["y"], name="w1", domain="acme")], {"x": (3,)})

    with pytest.raises(OperatorUnknown, match=r"node 'w1' \(Warp\): operator 'Warp' of domain 'acme'"):
        load_graph(proto.SerializeToString())


@pytest.mark.parametrize("op_type", ["RandomNormalLike", "Bernoulli"])
def test_random_operators_do_not_fold(op_type: str) -> None:
    """A constant input does not make a random output constant."""
    with pytest.raises(OperatorUnknown, match=op_type):
        load_graph(model([helper.make_node(op_type, ["w"], ["y"])], {}, constants={"w": zeros(3)}).SerializeToString())

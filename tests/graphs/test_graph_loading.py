"""From bytes to graphs: binding, folding, inlining; and a named error for everything else."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper
from stowplan_predictor.errors import DimensionUnbound, ExternalDataMissing, GraphTooLarge, ModelUnreadable, OperatorUnknown, ShapeRefused
from stowplan_predictor.graphs.limits import Limits
from stowplan_predictor.graphs.loading import load_graph, model_digest
from stowplan_predictor.graphs.strippings import strip
from support.onnx_models import INT64, ints, model, zeros

_RELU = helper.make_node("Relu", ["x"], ["y"], name="act")


def _types(proto: onnx.ModelProto, **shapes: tuple[int, ...]) -> list[str]:
    return [op.op_type for op in load_graph(proto.SerializeToString(), shapes).operators]


def test_model_digest_is_that_of_the_file() -> None:
    """`sha256sum` of the file says the same."""
    assert model_digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_input_shapes_bind_dynamic_dimensions() -> None:
    """A symbol that one input binds is bound for the other inputs, too."""
    proto = model([helper.make_node("Add", ["x", "z"], ["y"])], {"x": ("batch", 3), "z": ("batch", 1)})

    graph = load_graph(proto.SerializeToString(), {"x": (7, 3)})

    assert (graph.tensors["y"].shape, graph.tensors["z"].shape) == ((7, 3), (7, 1))


def test_an_unbound_dimension_names_input_dimension_and_remedy() -> None:
    """The message can be pasted into a command."""
    proto = model([_RELU], {"x": ("batch", 3)})

    with pytest.raises(DimensionUnbound, match=r"input 'x': dimension 0 \('batch'\).*--shape x=Nx3.*inputShapes: \{x: \[N, 3\]\}"):
        load_graph(proto.SerializeToString())


def test_an_input_without_a_rank_must_be_bound() -> None:
    """No shape at all is no excuse for a guess; with one it works."""
    proto = model([_RELU], {"x": None})

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
        load_graph(model([_RELU], {"x": ("n", 3)}).SerializeToString(), shapes)


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

    assert _types(model(nodes, {"x": (4, 4)}, constants={"w": zeros(1)})) == ["Add"]


def test_nonzero_of_a_constant_has_a_shape() -> None:
    """Window masks of exported transformers are found this way."""
    nodes = [helper.make_node("NonZero", ["m"], ["i"]), helper.make_node("Gather", ["x", "i"], ["y"])]
    graph = load_graph(model(nodes, {"x": (9, 2)}, constants={"m": np.array([1, 0, 1], np.int64)}).SerializeToString())

    assert graph.tensors["y"].shape == (1, 2, 2)


def test_nonzero_of_a_request_is_refused() -> None:
    """A shape that depends on the request's values is not guessed."""
    with pytest.raises(ShapeRefused, match="computed at run time"):
        load_graph(model([helper.make_node("NonZero", ["x"], ["y"])], {"x": (9,)}).SerializeToString())


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
    assert _types(_branching("c", c=np.array(True))) == ["Relu", "Relu", "Add"]
    assert _types(_branching("c", c=np.array(False))) == ["Exp", "Exp", "Add"]


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
    return proto.SerializeToString()


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


@pytest.mark.parametrize("content", [b"not a model at all", b"\x00" * 100, b"\xff" * 64, b""])
def test_what_is_not_onnx_is_unreadable(content: bytes) -> None:
    """Any other file is refused by name."""
    with pytest.raises(ModelUnreadable, match="ONNX"):
        load_graph(content)


def test_every_truncation_is_refused() -> None:
    """A file that ends early is never taken for a smaller model with the same answer."""
    proto = model([_RELU], {"x": (3,)})
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
        load_graph(model([_RELU, helper.make_node("Exp", ["x"], ["y"])], {"x": (3,)}).SerializeToString())
    with pytest.raises(ModelUnreadable, match="'z' is read, and nothing writes it"):
        load_graph(model([helper.make_node("Relu", ["z"], ["y"])], {"x": (3,)}).SerializeToString())


def test_nodes_may_stand_in_any_order() -> None:
    """Order in the file does not matter where edges decide."""
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Exp", ["x"], ["a"])]

    assert _types(model(nodes, {"x": (3,)})) == ["Exp", "Relu"]


def test_misfitting_shapes_are_refused_with_the_node() -> None:
    """The message names the node and what ONNX says of it."""
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": (2, 3)}, constants={"w": zeros(4, 5)})

    with pytest.raises(ShapeRefused, match=r"node 'fc' \(MatMul\): its inputs do not fit"):
        load_graph(proto.SerializeToString())


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
    proto = model([_RELU], {"x": (1,)})
    bomb = onnx.NodeProto.FromString(b"\x2a\x00" * 200)
    proto.graph.node.extend([bomb] * 200)

    with pytest.raises(GraphTooLarge, match="parts"):
        load_graph(proto.SerializeToString(), limits=Limits(max_parts=10_000))


def test_stripping_changes_nothing_but_size() -> None:
    """Weights are not part of the structure."""
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 512)}, constants={"w": zeros(512, 512)}, doc_string="long " * 10)
    content = proto.SerializeToString()
    stripped = strip(content)

    assert len(stripped) < 1000 < len(content)
    assert load_graph(content).digest == load_graph(stripped).digest
    onnx.load_from_string(stripped)


def _external(location: str, name: str, dims: tuple[int, ...], data_type: int) -> TensorProto:
    tensor = TensorProto(name=name, dims=dims, data_type=data_type, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def _reshaping(location: str) -> bytes:
    proto = model([helper.make_node("Reshape", ["x", "s"], ["y"])], {"x": (2, 3)})
    proto.graph.initializer.append(_external(location, "s", (2,), TensorProto.INT64))
    return proto.SerializeToString()


def test_external_weights_need_not_be_there() -> None:
    """Only their shape matters."""
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 8)})
    proto.graph.initializer.append(_external("weights.bin", "w", (8, 4), TensorProto.FLOAT))

    assert load_graph(proto.SerializeToString()).flops == 64


def test_external_data_that_decides_a_shape(tmp_path: Path) -> None:
    """It is read from the model's directory, and its absence has a name."""
    with pytest.raises(ExternalDataMissing, match=r"depends on 's'.*'s.bin'"):
        load_graph(_reshaping("s.bin"))
    with pytest.raises(ExternalDataMissing, match="not in the model's directory"):
        load_graph(_reshaping("s.bin"), model_dir=tmp_path)
    (tmp_path / "s.bin").write_bytes(ints(3, 2).tobytes())

    assert load_graph(_reshaping("s.bin"), model_dir=tmp_path).tensors["y"].shape == (3, 2)


def test_external_data_outside_the_directory_is_never_read(tmp_path: Path) -> None:
    """Neither by a path that climbs, nor an absolute one, nor a link, nor a pipe that would block."""
    inside = tmp_path / "model"
    inside.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(ints(3, 2).tobytes())
    (inside / "link.bin").symlink_to(secret)
    os.mkfifo(inside / "pipe.bin")

    for location in ("../secret.bin", str(secret), "link.bin", "pipe.bin", "", "a\0b"):
        with pytest.raises(ExternalDataMissing):
            load_graph(_reshaping(location), model_dir=inside)


def test_strings_and_other_unmeasured_types_are_refused() -> None:
    """Bytes of such elements would be a guess."""
    proto = model([helper.make_node("Identity", ["x"], ["y"])], {"x": (3,)}, input_type=TensorProto.STRING)

    with pytest.raises(OperatorUnknown, match="input 'x': element type 8"):
        load_graph(proto.SerializeToString())


def test_a_name_that_is_not_text_is_unreadable() -> None:
    """Damaged names stop at the door."""
    content = model([_RELU], {"x": (3,)}).SerializeToString().replace(b"Relu", b"R\xffu\xfe")

    with pytest.raises(ModelUnreadable, match="UTF-8"):
        load_graph(content)


def test_a_newer_opset_is_refused() -> None:
    """What an operator will mean then is not known now."""
    with pytest.raises(ModelUnreadable, match="opset 999 is newer"):
        load_graph(model([_RELU], {"x": (3,)}, opset=999).SerializeToString())


def test_a_parameter_listed_as_an_input_is_a_parameter() -> None:
    """Old opsets list every initializer as an input."""
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": (3,), "w": (3,)}, constants={"w": zeros(3)})

    graph = load_graph(proto.SerializeToString())

    assert (graph.inputs, graph.parameters) == (("x",), 3)


def test_integer_inputs_have_their_width() -> None:
    """Token ids are eight bytes each."""
    proto = model([helper.make_node("Neg", ["x"], ["y"])], {"x": (5,)}, input_type=INT64)

    assert load_graph(proto.SerializeToString()).operators[0].input_bytes == 40

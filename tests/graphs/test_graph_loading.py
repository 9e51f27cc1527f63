"""From files to graphs: what is read of a file and its weights, wherever they lie."""

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from stowplan_predictor.errors import ExternalDataMissing, ModelUnreadable, OperatorUnknown
from stowplan_predictor.graphs.loading import load_graph, model_digest
from stowplan_predictor.graphs.strippings import strip
from support.onnx_models import INT64, RELU, ints, model, operator_types, zeros


def test_model_digest_is_that_of_the_file() -> None:
    """`sha256sum` of the file says the same."""
    assert model_digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_nodes_may_stand_in_any_order() -> None:
    """Order in the file does not matter where edges decide."""
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Exp", ["x"], ["a"])]

    assert operator_types(model(nodes, {"x": (3,)})) == ["Exp", "Relu"]


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
    return bytes(proto.SerializeToString())


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


def test_a_newer_opset_is_refused() -> None:
    """What an operator will mean then is not known now."""
    with pytest.raises(ModelUnreadable, match="opset 999 is newer"):
        load_graph(model([RELU], {"x": (3,)}, opset=999).SerializeToString())


def test_a_parameter_listed_as_an_input_is_a_parameter() -> None:
    """Old opsets list every initializer as an input."""
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": (3,), "w": (3,)}, constants={"w": zeros(3)})

    graph = load_graph(proto.SerializeToString())

    assert (graph.inputs, graph.parameters) == (("x",), 3)


def test_integer_inputs_have_their_width() -> None:
    """Token ids are eight bytes each."""
    proto = model([helper.make_node("Neg", ["x"], ["y"])], {"x": (5,)}, input_type=INT64)

    assert load_graph(proto.SerializeToString()).operators[0].input_bytes == 40

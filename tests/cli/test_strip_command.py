"""`stowplan strip` keeps what a model is judged by, drops the rest, and writes whole files or none."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stowplan_predictor.graphs.loading import load_graph
from support.command_lines import Desk, Run
from support.synthetic_bundles import chain_model


def reshaping_model(open_batch: bool) -> bytes:  # noqa: FBT001 - two kinds of one model
    """A product whose result is reshaped by a stored integer tensor: the shape of everything behind depends on it."""
    weight = numpy_helper.from_array(np.ones((64, 96), dtype=np.float32), "w")
    shape = numpy_helper.from_array(np.array([-1, 8, 12], dtype=np.int64), "s")
    scale = numpy_helper.from_array(np.array(0.5, dtype=np.float32), "f")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Reshape", ["y", "s"], ["z"]), helper.make_node("Mul", ["z", "f"], ["o"])]
    batch = "batch" if open_batch else 4
    graph = helper.make_graph(
        nodes,
        "reshaping",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 64])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [batch, 8, 12])],
        [weight, shape, scale],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString())


def test_the_structure_is_the_same_graph_without_weights(run: Run, desk: Desk, tmp_path: Path) -> None:
    """Much smaller, the same digest, and `predict` says the same of both."""
    target = tmp_path / "structure.onnx"
    outcome = run("strip", desk.model, target, "-o", "json")
    document = outcome.json

    assert outcome.status == 0
    assert document["structure"]["bytes"] == target.stat().st_size < document["model"]["bytes"] / 20
    assert document["structure"]["fitsConfigMap"] is True
    assert document["graph"] == load_graph(desk.model.read_bytes()).digest == load_graph(target.read_bytes()).digest
    assert [path.name for path in tmp_path.iterdir()] == ["structure.onnx"]
    whole, bare = (run("predict", model, *desk.options, "-o", "json").json["predictions"] for model in (desk.model, target))
    assert whole == bare


def test_what_shapes_depend_on_stays(run: Run, tmp_path: Path) -> None:
    """Integer and scalar tensors keep their values, large weights none; dynamic dimensions stay open."""
    model, target = tmp_path / "model.onnx", tmp_path / "structure.onnx"
    model.write_bytes(reshaping_model(open_batch=True))

    assert run("strip", model, target, "--shape", "x=2x64").status == 0
    kept = {tensor.name: tensor for tensor in onnx.load_model_from_string(target.read_bytes()).graph.initializer}
    assert numpy_helper.to_array(kept["s"]).tolist() == [-1, 8, 12]
    assert float(numpy_helper.to_array(kept["f"])) == 0.5
    assert not kept["w"].raw_data
    for batch in (1, 7):
        assert load_graph(target.read_bytes(), {"x": (batch, 64)}).digest == load_graph(model.read_bytes(), {"x": (batch, 64)}).digest


def test_the_check_needs_shapes_where_the_model_leaves_them_open(run: Run, tmp_path: Path) -> None:
    """Without them nothing is checked, so nothing is written; the message names the input."""
    model, target = tmp_path / "model.onnx", tmp_path / "structure.onnx"
    model.write_bytes(reshaping_model(open_batch=True))
    outcome = run("strip", model, target)

    assert outcome.status == 1
    assert "x" in outcome.stderr
    assert not target.exists()


def test_files_are_not_overwritten_unasked(run: Run, desk: Desk, tmp_path: Path) -> None:
    """An existing file stays unless told otherwise; the model itself stays in any case."""
    target, model = tmp_path / "structure.onnx", tmp_path / "model.onnx"
    target.write_text("precious")
    model.write_bytes(chain_model())

    refused = run("strip", desk.model, target)
    itself = run("strip", model, model, "--force")

    assert (refused.status, itself.status) == (1, 1)
    assert "--force" in refused.stderr
    assert "the model itself" in itself.stderr
    assert target.read_text() == "precious"
    assert model.read_bytes() == chain_model()
    assert run("strip", desk.model, target, "--force").status == 0
    assert target.read_bytes() != b"precious"


@pytest.mark.parametrize(("content", "told"), [(b"no model", "model file"), (b"", "model file")])
def test_what_is_no_model_is_refused(run: Run, tmp_path: Path, content: bytes, told: str) -> None:
    """Status 1, the reason, and no file."""
    model, target = tmp_path / "model.onnx", tmp_path / "structure.onnx"
    model.write_bytes(content)
    outcome = run("strip", model, target)

    assert outcome.status == 1
    assert told in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_missing_directory_is_named(run: Run, desk: Desk, tmp_path: Path) -> None:
    """Before any work is done."""
    outcome = run("strip", desk.model, tmp_path / "nowhere" / "structure.onnx")

    assert outcome.status == 1
    assert "no such directory" in outcome.stderr

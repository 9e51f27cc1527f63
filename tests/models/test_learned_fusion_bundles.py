"""A bundle says how graphs are cut into kernels: with a learned classifier it loads, answers from its kernels, and is refused where it cannot be used."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from stowplan_fleet.devices import Device
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import DeviceName, SliceClass, cpu_slice
from stowplan_predictor.bundles.loading import FUSION, load_bundle
from stowplan_predictor.bundles.manifests import canonical
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.errors import BundleRefused
from stowplan_predictor.fusion import tables
from stowplan_predictor.fusion.classifier_inputs import OPERATOR_FEATURES
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.pipelines import Pipeline
from stowplan_predictor.serving.readers import Readers
from stowplan_predictor.serving.served import load
from stowplan_predictor.serving.settings import Analysis, Bundles
from support.synthetic_bundles import DEVICE, RUNTIME, chain_model, synthetic_files

FILE = "fusion/classifier.onnx"
TYPES = ("Conv", "Relu")
DEVICES: dict[DeviceName, Device] = {DEVICE.name: DEVICE}
ONE_CORE = SliceClass(DEVICE.name, cpu_slice(1000))


def classifier(weight: float, bias: float) -> bytes:
    """An ONNX classifier of edges that looks at one of their columns only: weight x column + bias."""
    nodes = [
        helper.make_node("MatMul", ["links", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([[weight]], dtype=np.float32), "weight"),
        numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "last"),
    ]
    columns = len(OPERATOR_FEATURES) + len(TYPES)
    inputs = [
        helper.make_tensor_value_info("nodes", TensorProto.FLOAT, ["operators", columns]),
        helper.make_tensor_value_info("edges", TensorProto.INT64, [2, "edges"]),
        helper.make_tensor_value_info("links", TensorProto.FLOAT, ["edges", 1]),
    ]
    graph = helper.make_graph(nodes, "classifier", inputs, [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["edges"])], constants)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString())


TABLE = FusionTable(tables.RULES_GAT_LSTM, FILE, TYPES, OPERATOR_FEATURES, ("rules_fuse",))
AS_RULES = classifier(2.0, -1.0)
NEVER = classifier(0.0, -1.0)


def written(folder: Path, table: FusionTable, content: bytes | None) -> Path:
    """A made-up bundle with that fusion."""
    files = {**synthetic_files(), FUSION: canonical(asdict(table)), **({} if content is None else {FILE: content})}
    write_bundle(folder, name="learned", runtime=RUNTIME, files=files, models={}, provenance={}, errors={})
    return folder


def kernels_of(pipeline: Pipeline) -> list[str]:
    """Kernels that a pipeline sees in three convolutions, each with its activation."""
    digest = pipeline.analyze(chain_model(), {}).graph_digest
    assert pipeline.predict([Question(Occupant(digest, ONE_CORE, 1.0))], DEVICES, RUNTIME)[0].isolated is not None
    return sorted(share.type for share in pipeline.explain(digest, ONE_CORE, DEVICES))


@pytest.mark.parametrize(("content", "kernels"), [(AS_RULES, ["Conv"] * 3), (NEVER, ["Conv"] * 3 + ["Relu"] * 3)], ids=["as the rules", "never"])
def test_answers_come_from_the_kernels_that_the_classifier_makes(tmp_path: Path, content: bytes, kernels: list[str]) -> None:
    """ONNX Runtime runs the bundle's classifier: what it fuses is one kernel, what it keeps apart are two."""
    pipeline = Pipeline(load_bundle(written(tmp_path / "b", TABLE, content)))

    assert kernels_of(pipeline) == kernels
    assert pipeline.analyze(chain_model(), {}).kernels == len(kernels)


def test_processes_that_read_files_cut_by_the_same_classifier(tmp_path: Path) -> None:
    """A server's reading process gets the classifier, and answers are those of a pipeline that reads by itself."""
    folder = written(tmp_path / "b", TABLE, NEVER)
    readers = Readers(Analysis(), 1)
    try:
        served = load(Bundles(runtimes=(), directories=(str(folder),)), readers.cutting_by)[RUNTIME].pipeline
        alone = Pipeline(load_bundle(folder))
        summary = served.analyze(chain_model(), {})
        question = [Question(Occupant(summary.graph_digest, ONE_CORE, 1.0))]

        assert summary == alone.analyze(chain_model(), {})
        assert summary.kernels == 6
        assert served.predict(question, DEVICES, RUNTIME) == alone.predict(question, DEVICES, RUNTIME)
    finally:
        readers.close()


@pytest.mark.parametrize(
    ("table", "content"),
    [
        (TABLE, None),
        (TABLE, b"no model"),
        (replace(TABLE, system="an oracle"), AS_RULES),
        (replace(TABLE, operator_features=("something else",)), AS_RULES),
        (replace(TABLE, edge_features=("unheard of",)), AS_RULES),
    ],
    ids=["no file", "broken file", "unknown system", "other features", "other columns"],
)
def test_a_fusion_that_cannot_be_used_is_refused_when_loaded(tmp_path: Path, table: FusionTable, content: bytes | None) -> None:
    """By name and at once, not with the first graph."""
    with pytest.raises(BundleRefused, match="fusion"):
        load_bundle(written(tmp_path / "b", table, content))


@pytest.mark.parametrize("change", [lambda table: replace(table, types=("Conv",))])
def test_a_classifier_for_other_columns_is_refused_when_loaded(tmp_path: Path, change: Callable[[FusionTable], FusionTable]) -> None:
    """Its file was made for as many operator types as the table names."""
    with pytest.raises(BundleRefused, match="fusion"):
        load_bundle(written(tmp_path / "b", change(TABLE), AS_RULES))


def test_where_nothing_is_fused_every_operator_is_a_kernel(tmp_path: Path) -> None:
    """The fusion of runtimes that run operators one by one."""
    assert kernels_of(Pipeline(load_bundle(written(tmp_path / "b", FusionTable.operators(), None)))) == ["Conv"] * 3 + ["Relu"] * 3

"""`stowplan replay`: what an extender recorded, decided anew at a desk."""

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from stowplan_cli.inputs import questions
from stowplan_cli.objects.snapshots import service_manifest
from stowplan_extender.recording.recorders import CURRENT
from stowplan_extender.settings import RecordingSettings
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.nodes import NodeManifest, inventory_of
from stowplan_fleet.manifests.services import input_shapes_of, service_of
from support import cluster_objects as objects
from support.cluster_objects import MODEL, QUICK
from support.command_lines import Desk, Run
from support.harbours import pod_json
from support.quays import Quay


def with_a_free_batch(content: bytes) -> bytes:
    """The model with the first extent of its input unbound."""
    model = onnx.load_from_string(content)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    return bytes(model.SerializeToString())


FREE = with_a_free_batch(MODEL)
SHAPED = objects.service("net", 60, model={"uri": "configmap://graph/model.onnx", "inputShapes": {"x": [1, 64, 56, 56]}}, **objects.on_one_core())


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A file with a filter and a binding."""
    quay = Quay(None, 0, RecordingSettings(str(tmp_path)), ant=10.0)
    quay.service("ant")
    quay.node("one")
    quay.pod("p", "ant")

    async def decide() -> None:
        await quay.verbs.filter(quay.args("p", "one"))
        await quay.bind("p", "one")

    asyncio.run(decide())
    return tmp_path / CURRENT


def test_the_same_answer_comes_out_at_a_desk(run: Run, recorded: Path) -> None:
    """Status 0 and a row for each decision, with its bundle, on a machine that has neither cluster nor predictor."""
    outcome = run("replay", recorded, "-o", "json")
    assert outcome.status == 0, outcome.stderr
    assert (outcome.json["decisions"], outcome.json["different"]) == (2, 0)
    assert [(row["verb"], row["pod"], row["returned"], row["bundles"]) for row in outcome.json["rows"]] == [
        (verb, "vision/p", ["one"], ["toy@1"]) for verb in ("filter", "bind")
    ]
    assert "2 decisions, 0 come out otherwise" in run("replay", recorded).stdout


def test_a_different_answer_is_shown_with_status_four(run: Run, recorded: Path) -> None:
    """An outcome that the inputs do not give is named with its node."""
    lines = recorded.read_text().splitlines()
    altered = json.loads(lines[0])
    altered["verdicts"][0] = {"kind": "refused", "text": "because", "reason": "NoRoom"}
    recorded.write_text("\n".join([json.dumps(altered), lines[1]]))
    outcome = run("replay", recorded)
    assert outcome.status == 4
    assert "node one: refused: because, and now accepted" in outcome.stdout


def test_another_bundle_is_not_asked_and_that_is_said(run: Run, desk: Desk, recorded: Path) -> None:
    """The decision comes out as recorded; that its answers could not be predicted anew is said with both bundles, in each row, and by status 3."""
    outcome = run("replay", recorded, "--ask", "--bundle", desk.bundle)
    assert outcome.status == 3
    assert "2 decisions, 0 come out otherwise" in outcome.stdout
    assert "0 of 1" in outcome.stdout
    assert "toy@1 answered, and here is " in outcome.stderr
    assert "name the recorded bundle with --bundle" in outcome.stderr
    assert run("replay", recorded).status == 0


@pytest.fixture
def judged(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a filter that the desk's bundle answered, of a service that binds the shape of its input."""
    predictor = questions.opened_predictor(desk.bundle, questions.RUNTIME)
    manifest = service_manifest(SHAPED)
    digest = asyncio.run(predictor.analyze(FREE, input_shapes_of(manifest))).graph_digest
    quay = Quay(None, 0, RecordingSettings(str(tmp_path)))
    monkeypatch.setattr(quay.toy, "predict", predictor.predict)
    quay.view.devices.put("devices", {QUICK.name: QUICK})
    quay.view.put_node(inventory_of(decoding.from_plain(objects.node("one"), NodeManifest)))
    quay.view.put_service(replace(service_of(manifest), graph_digest=digest))
    quay.calls.pods["vision/p"] = pod_json("p", "net", slice_class="quick/cpu:1")
    quay.watch("p")
    asyncio.run(quay.verbs.filter(quay.args("p", "one")))
    return tmp_path / CURRENT


def test_answers_are_predicted_anew_about_the_services_of_a_snapshot(run: Run, desk: Desk, judged: Path, tmp_path: Path) -> None:
    """A snapshot knows models and the shapes of their inputs, which a directory of files does not; without either, nothing can be asked."""
    graph = objects.graph() | {"binaryData": {"model.onnx": base64.b64encode(FREE).decode()}}
    snapshot = tmp_path / "cluster.yaml"
    snapshot.write_text(objects.listed([objects.described(), graph, objects.node("one"), SHAPED]))
    outcome = run("replay", judged, "--ask", "--bundle", desk.bundle, "--cluster", snapshot, "-o", "json")
    assert outcome.status == 0, outcome.stderr
    (row,) = outcome.json["rows"]
    assert (row["differences"], row["asked"]) == ([], {"judgedAnew": 1, "notHere": 0, "byAnotherBundle": 0, "bundles": []})
    alone = run("replay", judged, "--ask", "--bundle", desk.bundle)
    assert alone.status == 3
    assert "1 answers are about models that are not here" in alone.stderr


@pytest.mark.parametrize(("text", "said"), [("", "no decision is recorded there"), ("{}\n", "line 1: not a recorded decision")])
def test_what_is_no_recording_is_refused(run: Run, tmp_path: Path, text: str, said: str) -> None:
    """An empty file and other JSON: status 1, with the line."""
    (tmp_path / "file").write_text(text)
    outcome = run("replay", tmp_path / "file")
    assert outcome.status == 1
    assert said in outcome.stderr

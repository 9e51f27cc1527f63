"""The example's model server, as a process: it answers what the model answers, counts, refuses what does not fit, and ends when it is told to."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from support.components import answers
from support.controlplane import wait_until
from support.onnx_models import model as onnx_model
from support.ports import free_port

SERVER = Path(__file__).resolve().parents[2] / "examples" / "server" / "server.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network."""
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    made = onnx_model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [2, 3]}, constants={"w": weights})
    path.write_bytes(made.SerializeToString())
    return path


def start(**environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(SERVER)], env={**os.environ, **environment}, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    """Of a running server."""
    port = free_port()
    process = start(MODEL_FILE=str(model), MODEL_NAME="small", PORT=str(port), STOWPLAN_SLICE="it/cpu:1500m", OBJECTIVE_MILLISECONDS="40")
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/v2/health/ready"), 20, "the server does not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    # A started core is a thread.
    assert b"with 2 threads" in said


def infer(url: str, body: bytes) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v2/models/small/infer", body), timeout=10) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def text(url: str, path: str) -> str:
    with urllib.request.urlopen(url + path, timeout=10) as answer:  # noqa: S310
        body: bytes = answer.read()
        return body.decode()


def request_for(url: str, **changes: object) -> bytes:
    """A request that fits, but for the changes."""
    (described,) = json.loads(text(url, "/v2/models/small"))["inputs"]
    shape = [max(size, 1) for size in described["shape"]]
    data = np.linspace(-1, 1, int(np.prod(shape))).tolist()
    return json.dumps({"inputs": [{"name": described["name"], "datatype": described["datatype"], "shape": shape, "data": data, **changes}]}).encode()


def test_it_answers_what_the_model_answers(url: str, model: Path) -> None:
    """The same numbers as ONNX Runtime gives here."""
    session = onnxruntime.InferenceSession(model.read_bytes())
    body = request_for(url)
    given = json.loads(body)["inputs"][0]
    expected = session.run(None, {given["name"]: np.array(given["data"], np.float32).reshape(given["shape"])})[0]

    status, answer = infer(url, body)

    assert status == 200
    assert answer["model_name"] == "small"
    assert answer["outputs"][0]["shape"] == list(expected.shape)
    assert answer["outputs"][0]["data"] == pytest.approx(expected.ravel().tolist(), rel=1e-4)


def test_it_counts_what_it_answered(url: str) -> None:
    """Each request once in each histogram, the objective among the buckets; what was refused is in none."""
    before = text(url, "/metrics").count('_count{model="small"}')
    counts = [counted(url, part) for part in ("request", "queue", "inference")]
    infer(url, request_for(url))
    infer(url, b"{}")

    assert before == 3
    assert [counted(url, part) for part in ("request", "queue", "inference")] == [count + 1 for count in counts]
    assert 'model_server_request_duration_seconds_bucket{le="0.04",model="small"}' in text(url, "/metrics")


def counted(url: str, part: str) -> float:
    name = f'model_server_{part}_duration_seconds_count{{model="small"}} '
    return next(float(line.removeprefix(name)) for line in text(url, "/metrics").splitlines() if line.startswith(name))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "other"}, "the model takes"),
        ({"datatype": "INT64"}, "has the datatype INT64, and the model takes FP32"),
        ({"shape": [1, 1]}, "cannot reshape"),
        ({"shape": [1, 1], "data": [1.0]}, "and the model takes"),
        ({"data": ["x"]}, "could not convert"),
        ({"shape": {}}, "input"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(url: str, changes: dict[str, object], complaint: str) -> None:
    """A 400 that says what the model takes."""
    status, answer = infer(url, request_for(url, **changes))
    assert status == 400
    assert complaint in answer["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"inputs": 3}', b'{"inputs": [3]}', b"\xff"])
def test_what_is_no_request_is_refused(url: str, body: bytes) -> None:
    """Nothing that arrives brings the server down."""
    status, answer = infer(url, body)
    assert (status, "inputs" in answer["error"]) == (400, True)


def test_without_a_model_it_says_so(tmp_path: Path) -> None:
    """It ends with the file's name, and not ready."""
    process = start(MODEL_FILE=str(tmp_path / "none.onnx"), PORT=str(free_port()))
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"the server cannot start" in said
    assert b"none.onnx" in said

"""The process itself: settings from file and environment, refusals at the start, an orderly end."""

import asyncio
import json
import logging
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from stowplan_extender import __main__ as program
from stowplan_predictor.serving.servers import PredictorServer
from stowplan_predictor.serving.settings import Grpc, PredictorSettings
from support.answering import ToldPipeline, told
from support.fake_apiservers import FakeApiServer
from support.secret_volumes import SecretVolume

TLS = "STOWPLAN_EXTENDER_PREDICTOR_TLS_"
EXPIRATION = re.compile(r'stowplan_extender_certificate_expiration_timestamp_seconds\{certificate="own"\} (\S+)')


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """What the program configures ends with the test."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


def kubeconfig_of(folder: Path, url: str) -> str:
    """Path of a kubeconfig for that API server."""
    path = folder / "kubeconfig"
    cluster = {"clusters": [{"name": "test", "cluster": {"server": url}}], "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]}
    user = {"current-context": "test", "users": [{"name": "test", "user": {"token": "secret"}}]}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **cluster, **user}))
    return str(path)


def test_shows_its_effective_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The environment wins over the file, the file over the defaults."""
    file = tmp_path / "settings.yaml"
    file.write_text("placement: {best_k: 5, reservation_s: 30}\n")
    monkeypatch.setenv("STOWPLAN_EXTENDER_PLACEMENT_BEST_K", "7")
    monkeypatch.setenv("STOWPLAN_EXTENDER_PREDICTOR_TARGETS", "a:1,b:2")
    assert program.main(["--settings", str(file), "--show-settings"]) == 0
    shown = capsys.readouterr().out
    assert "best_k: 7" in shown
    assert "reservation_s: 30" in shown
    assert "- a:1\n  - b:2" in shown


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("STOWPLAN_EXTENDER_PLACEMENT_BESTK", "7", "did you mean STOWPLAN_EXTENDER_PLACEMENT_BEST_K"),
        ("STOWPLAN_EXTENDER_LEASE_NAME", "stowplan", "namespace and pod_name are needed too"),
        ("STOWPLAN_EXTENDER_PREDICTOR_KEEP_S", "1", "keep_s is shorter than reuse_s"),
        ("STOWPLAN_EXTENDER_API_KUBECONFIG", "/nowhere/kubeconfig", "no credentials for the API server from kubeconfig /nowhere/kubeconfig"),
    ],
)
def test_refuses_to_start_with_a_reason(variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt or contradictory setting, or credentials that are not there, end the process with status 1 and say what is wrong."""
    monkeypatch.setenv(variable, value)
    assert program.main([]) == 1
    assert said in capsys.readouterr().err


async def test_starts_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    """With a kubeconfig it serves on loopback, logs JSON lines, and ends with status 0 when told to."""
    server = FakeApiServer()
    async with server.serving() as url:
        environment = {
            **os.environ,
            "STOWPLAN_EXTENDER_API_KUBECONFIG": kubeconfig_of(tmp_path, url),
            "STOWPLAN_EXTENDER_SERVING_PORT": "0",
            "STOWPLAN_EXTENDER_SERVING_HEALTH_PORT": "0",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stowplan_extender", env=environment, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while True:
                line = json.loads(await process.stderr.readline())
                if line["msg"] == "serving":
                    break
        assert line["scheduler"].startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            rest = [json.loads(text) for text in (await process.stderr.read()).splitlines()]
            assert await process.wait() == 0
        assert "stopping" in [entry["msg"] for entry in rest]


def scraped(health: str) -> str:
    with urllib.request.urlopen(f"{health}/metrics", timeout=10) as answer:  # noqa: S310 -- our own http URL
        text: str = answer.read().decode()
        return text


async def test_the_process_shows_its_certificate_to_the_predictor(tmp_path: Path) -> None:
    """Its settings name the files; the predictor is found, and Prometheus is told when the certificate ends."""
    ca = trustme.CA()
    ours, theirs = SecretVolume(tmp_path / "predictor"), SecretVolume(tmp_path / "extender")
    ours.put(ca.issue_cert("predictor.test"), ca)
    theirs.put(ca.issue_cert("extender.test"), ca)
    predictor = PredictorServer(PredictorSettings(grpc=Grpc(port=0), tls=ours.server()))
    await predictor.start()
    await predictor.open(told(ToldPipeline()))
    async with FakeApiServer().serving() as url:
        environment = {
            "STOWPLAN_EXTENDER_API_KUBECONFIG": kubeconfig_of(tmp_path, url),
            "STOWPLAN_EXTENDER_SERVING_PORT": "0",
            "STOWPLAN_EXTENDER_SERVING_HEALTH_PORT": "0",
            "STOWPLAN_EXTENDER_PREDICTOR_TARGETS": f"127.0.0.1:{predictor.port}",
            f"{TLS}CA_FILE": theirs.authorities,
            f"{TLS}CERTIFICATE_FILE": theirs.certificate,
            f"{TLS}KEY_FILE": theirs.key,
            f"{TLS}SERVER_NAME": "predictor.test",
        }
        command = (sys.executable, "-m", "stowplan_extender")
        process = await asyncio.create_subprocess_exec(*command, env=os.environ | environment, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            said: dict[str, dict[str, str]] = {}
            async with asyncio.timeout(60):
                while not {"serving", "the predictor is there"} <= set(said):
                    line = json.loads(await process.stderr.readline())
                    said[line["msg"]] = line
            found = EXPIRATION.search(await asyncio.to_thread(scraped, said["serving"]["health"]))
        finally:
            process.kill()
            await process.communicate()
            await predictor.stop(0, 0)
    assert "the predictor is not there" not in said
    assert found is not None
    assert float(found[1]) > 1e9


def test_it_does_not_start_without_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A Secret that is not mounted ends the process with status 1 and the file's name, not with a predictor that seems to be away."""
    monkeypatch.setenv("STOWPLAN_EXTENDER_API_KUBECONFIG", kubeconfig_of(tmp_path, "http://127.0.0.1:1"))
    monkeypatch.setenv(f"{TLS}CA_FILE", "/nowhere/ca.crt")
    assert program.main([]) == 1
    assert "stowplan_extender: /nowhere/ca.crt: No such file or directory; is the Secret mounted there" in capsys.readouterr().err

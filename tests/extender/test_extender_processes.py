"""The process itself: settings from file and environment, refusals at the start, an orderly end."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stowplan_extender import __main__ as program
from support.fake_apiservers import FakeApiServer


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """What the program configures ends with the test."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


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
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": {"server": url}}],
                    "users": [{"name": "test", "user": {"token": "secret"}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                }
            )
        )
        environment = {
            **os.environ,
            "STOWPLAN_EXTENDER_API_KUBECONFIG": str(kubeconfig),
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
        async with asyncio.timeout(20):
            rest = [json.loads(text) for text in (await process.stderr.read()).splitlines()]
            assert await process.wait() == 0
        assert "stopping" in [entry["msg"] for entry in rest]

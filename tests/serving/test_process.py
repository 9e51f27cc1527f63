"""The predictor as a process: how it starts, what it says, how it ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from stowplan_fleet.answers import Answer
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import parse_slice_class

TESTS = Path(__file__).resolve().parent.parent
QUESTION = Question(Occupant(GraphDigest("sha256:" + b"model".hex()), parse_slice_class("epyc/cpu:1"), 1.0))


class Running:
    """A predictor process whose log is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, message: str) -> dict[str, Any]:
        """The next line with that message."""
        assert self.process.stderr is not None
        while raw := await self.process.stderr.readline():
            line: dict[str, Any] = json.loads(raw)
            if line["msg"] == message:
                return line
        raise AssertionError(f"the process ended without saying {message!r}")


@asynccontextmanager
async def running(seconds: float, **environment: str) -> AsyncIterator[Running]:
    """The process, its pipeline taking so many seconds for a question; killed at the end where it still lives."""
    names = {"GRPC_PORT": "0", "METRICS_PORT": "0", "SHUTDOWN_NOTICE_S": "0"} | environment
    variables = {f"STOWPLAN_PREDICTOR_{name}": value for name, value in names.items()} | {"PYTHONPATH": str(TESTS)}
    command = (sys.executable, "-m", "support.told_predictor", str(seconds))
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | variables, stderr=asyncio.subprocess.PIPE)
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def scrape(port: int) -> str:
    """What Prometheus would read."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        text: str = response.read().decode()
        return text


async def under_way(predictor: GrpcPredictor, metrics_port: int) -> asyncio.Task[Sequence[Answer]]:
    """Asks, and waits until the prediction is under way."""
    await predictor.analyze(b"model", {})
    asked = asyncio.create_task(predictor.predict([QUESTION], {}, "onnxruntime-cpu"))
    async with asyncio.timeout(10):
        while 'stowplan_predictor_rpcs_in_progress{method="Predict"} 1.0' not in await asyncio.to_thread(scrape, metrics_port):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    return asked


async def test_sigterm_lets_calls_under_way_end() -> None:
    """The answer that was being made arrives, then the process ends well and says so."""
    async with running(0.5) as server:
        ports = await server.line("listening")
        await server.line("serving")
        async with GrpcPredictor(f"127.0.0.1:{ports['grpc_port']}", 20.0) as predictor:
            asked = await under_way(predictor, ports["metrics_port"])
            server.process.send_signal(signal.SIGTERM)
            answer = (await asked)[0]

        assert answer.response is not None
        assert (await server.line("stopped"))["unfinished"] == 0
        assert await server.process.wait() == 0


async def test_a_second_signal_ends_it_at_once() -> None:
    """Whoever cannot wait for the drain signals again: the status is that of a death by the signal."""
    async with running(30) as server:
        ports = await server.line("listening")
        await server.line("serving")
        async with GrpcPredictor(f"127.0.0.1:{ports['grpc_port']}", 20.0) as predictor:
            asked = await under_way(predictor, ports["metrics_port"])
            server.process.send_signal(signal.SIGTERM)
            await server.line("draining")
            server.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                assert await server.process.wait() == 128 + signal.SIGTERM
            asked.cancel()


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m stowplan_predictor` with these arguments and variables, until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "stowplan_predictor", *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_settings_are_shown_as_they_will_be_used(tmp_path: Path) -> None:
    """File and environment together, as YAML."""
    file = tmp_path / "settings.yaml"
    file.write_text("grpc: {port: 7}\nwork: {predict_threads: 3}\n")
    done = command("--settings", str(file), "--show-settings", STOWPLAN_PREDICTOR_GRPC_PORT="8")
    shown = yaml.safe_load(done.stdout)

    assert (done.returncode, shown["grpc"]["port"], shown["work"]["predict_threads"], shown["grpc"]["host"]) == (0, 8, 3, "127.0.0.1")


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"STOWPLAN_PREDICTOR_GRPC_PROT": "1"}, "STOWPLAN_PREDICTOR_GRPC_PORT"),
        ({"STOWPLAN_PREDICTOR_LOG_LEVEL": "loud"}, "log_level"),
        ({"STOWPLAN_PREDICTOR_BUNDLES_RUNTIMES": "", "STOWPLAN_PREDICTOR_BUNDLES_DIRECTORIES": "/nothing/here"}, "/nothing/here"),
    ],
)
def test_what_keeps_it_from_starting_is_said_and_fails(environment: dict[str, str], named: str) -> None:
    """Status 1, and one sentence on standard error that names the cause."""
    done = command(STOWPLAN_PREDICTOR_METRICS_PORT="0", **({"STOWPLAN_PREDICTOR_GRPC_PORT": "0"} | environment))

    assert done.returncode == 1
    assert named in done.stderr.splitlines()[-1]

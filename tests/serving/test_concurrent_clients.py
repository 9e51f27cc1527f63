"""Many clients at once against the real process: answers stay quick while files are read, and what does not fit is told to come back."""

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet.clients import PUSHBACK_KEY, RETRY_BUSY, RETRY_KEY, GrpcPredictor
from stowplan_fleet.errors import GraphRefused, PredictorBusy, PredictorUnavailable
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import SliceClass, cpu_slice
from support.hostile_models import chain, folding_bomb
from support.synthetic_bundles import DEVICE, RUNTIME, chain_model, write_synthetic_bundle


@dataclass(frozen=True)
class Server:
    """A running process."""

    target: str
    pid: int


@contextmanager
def serving(bundle: Path, **environment: str) -> Iterator[Server]:
    """The process with a made-up bundle; ended at the end, with all its readers."""
    names = {"GRPC_PORT": "0", "METRICS_PORT": "0", "SHUTDOWN_NOTICE_S": "0", "BUNDLES_RUNTIMES": "", "BUNDLES_DIRECTORIES": str(bundle)} | environment
    variables = {f"STOWPLAN_PREDICTOR_{name}": value for name, value in names.items()}
    process = subprocess.Popen([sys.executable, "-m", "stowplan_predictor"], env=os.environ | variables, stderr=subprocess.PIPE, text=True)
    try:
        port = 0
        for line in process.stderr or ():
            port = json.loads(line).get("grpc_port", port)
            if json.loads(line)["msg"] == "serving":
                break
        yield Server(f"127.0.0.1:{port}", process.pid)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def children_of(pid: int) -> list[int]:
    """As the kernel lists them for each thread."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up bundle on disk."""
    return write_synthetic_bundle(tmp_path_factory.mktemp("bundle") / "synthetic")


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[Server]:
    """A process with little room for files."""
    with serving(bundle, WORK_ANALYZE_QUEUE="2", WORK_RETRY_AFTER_MS="40", WORK_ANALYZE_QUEUE_BYTES=str(1 << 20)) as found:
        yield found


async def question_of(predictor: GrpcPredictor) -> Question:
    """One that is answered from memory from now on."""
    summary = await predictor.analyze(chain_model(), {})
    question = Question(Occupant(summary.graph_digest, SliceClass(DEVICE.name, cpu_slice(1000)), 1.0))
    await predictor.predict([question], {DEVICE.name: DEVICE}, RUNTIME)
    return question


async def test_answers_stay_quick_while_a_large_file_is_read(server: Server) -> None:
    """A network of 8,000 operators takes half a second or more to read; questions are answered meanwhile as if nobody read anything."""
    async with GrpcPredictor(server.target, 30.0) as predictor:
        question = await question_of(predictor)
        reading = asyncio.create_task(predictor.analyze(chain(8_000), {}))
        times = []
        while not reading.done():
            started = time.monotonic()
            await predictor.predict([question], {DEVICE.name: DEVICE}, RUNTIME)
            times.append(time.monotonic() - started)

        assert (await reading).operators == 8_000
        assert len(times) > 20
        assert statistics.median(times) < 0.05
        # No call waited for the file: however slow the machine is just now, the longest is a fraction of the time that the reading took.
        assert max(times) < sum(times) / 3


async def test_files_that_do_not_fit_are_told_to_come_back(server: Server) -> None:
    """Of twenty clients that push at once three are served or wait; each of the others hears at once that later helps, and after how many milliseconds."""
    clients = [GrpcPredictor(server.target, 30.0) for _ in range(20)]
    try:
        pushed = await asyncio.gather(*(one.analyze(chain(1_500 + index), {}) for index, one in enumerate(clients)), return_exceptions=True)
    finally:
        for one in clients:
            await one.close()
    busy = [result for result in pushed if isinstance(result, BaseException)]

    assert all(isinstance(result, PredictorBusy) for result in busy)
    assert 1 <= len(pushed) - len(busy) < 20
    async with grpc.aio.insecure_channel(server.target) as channel:
        stub = predictor_pb2_grpc.PredictorServiceStub(channel)
        calls = [stub.AnalyzeGraph(pb.AnalyzeGraphRequest(onnx_model=chain(2_500 + index))) for index in range(8)]
        await asyncio.gather(*calls, return_exceptions=True)
        refused = [call for call in calls if await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED]
        hints = {tuple(sorted((await call.trailing_metadata()) or ())) for call in refused}

    assert hints == {((PUSHBACK_KEY, "40"), (RETRY_KEY, RETRY_BUSY))}


async def test_files_that_wait_hold_no_more_memory_than_they_may(server: Server) -> None:
    """Two files of more than half of the bytes allowed: the second is told to come back though the queue has a place for it."""
    large = chain_model(convolutions=1, channels=140)
    async with GrpcPredictor(server.target, 30.0) as one, GrpcPredictor(server.target, 30.0) as other:
        assert (1 << 19) < len(large) < (1 << 20)
        first = asyncio.create_task(one.analyze(chain(6_000), {}))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(other.analyze(large, {}))
        await asyncio.sleep(0.05)
        with pytest.raises(PredictorBusy, match="bytes"):
            await one.analyze(large, {})
        assert (await first).operators == 6_000
        assert (await second).operators == 2


async def test_hostile_files_leave_the_others_unharmed(server: Server) -> None:
    """Refused over the wire by what is wrong with them; questions and honest files go on."""
    async with GrpcPredictor(server.target, 30.0) as predictor:
        question = await question_of(predictor)
        for _ in range(2):
            with pytest.raises(GraphRefused, match="computed constants"):
                await predictor.analyze(folding_bomb(), {})
        assert (await predictor.predict([question], {DEVICE.name: DEVICE}, RUNTIME))[0].isolated is not None
        assert (await predictor.analyze(chain(7), {})).operators == 7


async def test_the_processes_end_with_the_server(bundle: Path) -> None:
    """A reader in the middle of a file does not outlive the server, nor hold up its end."""
    with serving(bundle, SHUTDOWN_GRACE_S="0") as server:
        children = children_of(server.pid)
        async with GrpcPredictor(server.target, 30.0) as predictor:
            reading = asyncio.create_task(predictor.analyze(chain(60_000), {}))
            await asyncio.sleep(0.5)
            os.kill(server.pid, signal.SIGTERM)
            with pytest.raises(PredictorUnavailable):
                await reading
        await asyncio.to_thread(os.waitid, os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    assert children
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)

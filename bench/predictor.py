"""How fast the predictor is, and how much memory it takes, on one core: `python bench/predictor.py [--json FILE] [--runs N]`.

Each run starts the predictor's process anew with the shipped bundles, pinned to one core with all that it starts; the client asks over gRPC on loopback from
another core, and its own time (encoding, gRPC, decoding) is part of every duration. A duration is from the call to the decoded answer.

- start: from nothing to "serving" (bundle loaded and warmed, as a readiness probe sees it).
- cold: the first model such a process is shown: a residual network of 120 operators, its file pushed and predicted on 8 slices.
- warm: the same with further models, none seen before (the median of them).
- transformer: the same with an encoder of 2,009 operators.
- cached: one question asked before; p50 and p99 of all calls of a run. Beside it a health check, which is what gRPC itself takes.
- encrypted: the same question of two processes on that core in turn, one of which speaks TLS with certificates of both sides, as in the chart.
- batch: 100 questions a call, asked before; and with 100 request rates never asked. Questions a second as one client sees them, and a second of the
  process' time on its core (what the core would give to several clients).
- memory: after all that, of the process, and with the process that reads model files.

A figure is the median of the runs, with least and most.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from stowplan_fleet import channels
from stowplan_fleet.channels import ClientTls
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import SliceClass, parse_slice
from stowplan_predictor.bundles.loading import shipped_bundle

from bench.parts import networks, processes, refusals, secrets
from bench.parts.figures import Figures, facts, percentile, table

RUNTIME = "onnxruntime-cpu"
SLICES = ("cpu:1", "cpu:2", "cpu:250m", "cpu:500m", "cpu:750m", "cpu:1250m", "cpu:1500m", "cpu:1750m")
WARM_MODELS = 8
CACHED_CALLS = 2_000
# So many calls to one process, then to the other: whatever else the machine does meets both.
TURNS, TURN_CALLS = 40, 50
BATCH = 100
BATCH_CALLS = 60


class Client:
    """Asks one process."""

    def __init__(self, port: int, device: CpuDevice, tls: ClientTls | None = None) -> None:
        self.predictor = GrpcPredictor(f"127.0.0.1:{port}", timeout_s=60.0, identity=channels.identity(tls or ClientTls()))
        self._device = device

    def question(self, digest: GraphDigest, slice_name: str = "cpu:1", rate: float = 1.0) -> Question:
        """About a network on a slice, nobody beside it."""
        return Question(Occupant(digest, SliceClass(self._device.name, parse_slice(slice_name)), rate))

    async def ask(self, questions: Sequence[Question]) -> None:
        """All in one call; each must be judged."""
        answers = await self.predictor.predict(questions, {self._device.name: self._device}, RUNTIME)
        if any(answer.isolated is None for answer in answers):
            raise RuntimeError(f"no judgement: {next(answer.message for answer in answers if answer.isolated is None)}")

    async def new_model(self, model: bytes) -> GraphDigest:
        """Pushes a model and asks for it on all slices."""
        digest = (await self.predictor.analyze(model, {})).graph_digest
        await self.ask([self.question(digest, name) for name in SLICES])
        return digest


async def durations_ms(calls: int, ask: Callable[[], Awaitable[object]]) -> list[float]:
    """Of so many calls, one after the other, ascending."""
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        await ask()
        times.append(1e3 * (time.perf_counter() - started))
    return sorted(times)


async def run(device: CpuDevice, core: int) -> Figures:
    """All figures of one process."""
    with processes.serving(core) as server:
        client = Client(server.port, device)
        try:
            figures: Figures = {"start_s": server.start_s, "idle_with_reader_mb": server.memory_mb()[1]}
            # The connection is there before anything is timed.
            await client.predictor.describe(RUNTIME)
            figures |= await new_models(client)
            digest = await client.new_model(networks.residual_network(224))
            figures |= await cached(client, server.port, digest)
            figures |= await batches(client, server, digest)
            figures["memory_mb"], figures["memory_with_reader_mb"] = server.memory_mb()
            figures["peak_with_reader_mb"] = server.peak_mb()
            figures |= await encrypted(client, device, core, digest)
        finally:
            await client.predictor.close()
    return figures


async def new_models(client: Client) -> Figures:
    """Cold, warm, and the large one."""
    sides = itertools.count(64, 8)
    [cold] = await durations_ms(1, lambda: client.new_model(networks.residual_network(next(sides))))
    models = iter([networks.residual_network(next(sides)) for _ in range(WARM_MODELS)])
    warm = await durations_ms(WARM_MODELS, lambda: client.new_model(next(models)))
    model = networks.transformer()
    [large] = await durations_ms(1, lambda: client.new_model(model))
    return {"cold_ms": cold, "warm_ms": statistics.median(warm), "transformer_ms": large}


async def cached(client: Client, port: int, digest: GraphDigest) -> Figures:
    """One question, and next to it what gRPC takes for nothing."""
    question = [client.question(digest)]
    times = await durations_ms(CACHED_CALLS, lambda: client.ask(question))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        nothing = await durations_ms(CACHED_CALLS // 2, lambda: check(health_pb2.HealthCheckRequest()))
    p50 = percentile(times, 50)
    return {
        "cached_p50_ms": p50,
        "cached_p99_ms": percentile(times, 99),
        "health_p50_ms": percentile(nothing, 50),
        "cached_over_health": p50 / percentile(nothing, 50),
    }


async def encrypted(client: Client, device: CpuDevice, core: int, digest: GraphDigest) -> Figures:
    """A cached question in the clear and with TLS, in turns."""
    question = [client.question(digest)]
    with tempfile.TemporaryDirectory() as folder:
        environment, tls = secrets.made(Path(folder))
        with processes.serving(core, environment) as server:
            other = Client(server.port, device, tls)
            try:
                await other.new_model(networks.residual_network(224))
                times: dict[Client, list[float]] = {client: [], other: []}
                for _ in range(TURNS):
                    for one, found in times.items():
                        found.extend(await durations_ms(TURN_CALLS, lambda one=one: one.ask(question)))  # type: ignore[misc]
            finally:
                await other.predictor.close()
    plain, with_tls = (sorted(found) for found in times.values())
    return {
        "encrypted_p50_ms": percentile(with_tls, 50),
        "encrypted_p99_ms": percentile(with_tls, 99),
        "encrypted_over_plain": percentile(with_tls, 50) / percentile(plain, 50),
    }


async def batches(client: Client, server: processes.Serving, digest: GraphDigest) -> Figures:
    """A hundred questions a call: the same again, and rates never asked for."""
    rates = itertools.count(1)

    def questions() -> list[Question]:
        return [client.question(digest, rate=1.0 + next(rates) / 1e6) for _ in range(BATCH)]

    known = questions()
    await client.ask(known)
    return await batch(client, server, "cached", [known] * BATCH_CALLS) | await batch(client, server, "new", [questions() for _ in range(BATCH_CALLS)])


async def batch(client: Client, server: processes.Serving, name: str, asked: Sequence[Sequence[Question]]) -> Figures:
    """One call for each."""
    calls = iter(asked)
    before_s = server.cpu_s()
    times = await durations_ms(len(asked), lambda: client.ask(next(calls)))
    busy_s = server.cpu_s() - before_s
    count = sum(map(len, asked))
    return {
        f"batch_{name}_questions_per_s": count / (sum(times) / 1e3),
        f"batch_{name}_questions_per_core_s": count / busy_s,
        f"batch_{name}_p50_ms": percentile(times, 50),
    }


def main() -> int:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description="Time and memory of the predictor")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    bundle = shipped_bundle(RUNTIME)
    server_core, client_core = processes.cores()
    os.sched_setaffinity(0, {client_core})
    runs = [asyncio.run(run(bundle.devices[0], server_core)) for _ in range(given.runs)]
    rows = table(runs)
    for row in rows:
        verdict = f"   wanted {row['wanted']}: {'holds' if row['holds'] else 'MISSED'}" if "wanted" in row else ""
        print(f"{row['figure']!s:<36} {row['median']!s:>12}   ({row['least']} to {row['most']}){verdict}")
    if given.json:
        content = {**facts(bundle.label, load), "runs": given.runs, "slices": SLICES, "rows": rows, "hostile": refusals.hostile()}
        given.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

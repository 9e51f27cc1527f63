"""How long the predictor takes to analyse and answer for ResNet-50: a model it has never seen, a new question, a cached one.

`python bench/predict_resnet50.py [--json FILE]`. The model is `light_resnet50.onnx` of the onnx package; bundle: the shipped one; device: the one it was
trained on (read from the bundle, so that the bench needs no measuring of its own).

- new model: file bytes to answer on cpu:1, in a pipeline that has seen nothing; the bundle is loaded already, as in a running predictor.
- new question: another request rate on a known model.
- cached: the same question again.
- over gRPC: the cached question through a real server on loopback, client and server in one process.
Each figure: the median of the calls of a run; then median, least and most of five runs.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.devices import Device
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName, SliceClass, parse_slice
from stowplan_predictor.bundles.loading import shipped_bundle
from stowplan_predictor.pipelines.answering import Pipeline
from stowplan_predictor.serving import served
from stowplan_predictor.serving.servers import PredictorServer
from stowplan_predictor.serving.settings import Grpc, PredictorSettings

RUNS = 5
RUNTIME = "onnxruntime-cpu"
MODEL = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_resnet50.onnx"


def question(graph: GraphDigest, device: DeviceName, rate: float) -> Question:
    """ResNet-50 on one core under some load."""
    return Question(Occupant(graph, SliceClass(device, parse_slice("cpu:1")), rate))


async def measure(name: str, calls: int, ask: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    """Five runs of so many calls."""
    medians = []
    for _ in range(RUNS):
        times = []
        for _ in range(calls):
            started = time.perf_counter()
            await ask()
            times.append(1e3 * (time.perf_counter() - started))
        medians.append(statistics.median(times))
    row = {
        "what": name,
        "callsPerRun": calls,
        "medianMilliseconds": round(statistics.median(medians), 4),
        "leastMilliseconds": round(min(medians), 4),
        "mostMilliseconds": round(max(medians), 4),
    }
    print(f"{name:<22} median {row['medianMilliseconds']:>9.3f} ms   ({row['leastMilliseconds']:.3f} to {row['mostMilliseconds']:.3f})")
    return row


async def bench() -> list[dict[str, Any]]:
    """All rows."""
    bundle = shipped_bundle(RUNTIME)
    device = bundle.devices[0]
    devices: dict[DeviceName, Device] = {device.name: device}
    data = MODEL.read_bytes()
    pipeline = Pipeline(bundle)
    known = pipeline.analyze(data, {}).graph_digest
    rates = (1 + step / 1000 for step in itertools.count())

    async def new_model() -> None:
        fresh = Pipeline(bundle)
        digest = fresh.analyze(data, {}).graph_digest
        fresh.predict([question(digest, device.name, 1.0)], devices, RUNTIME)

    async def new_question() -> None:
        pipeline.predict([question(known, device.name, next(rates))], devices, RUNTIME)

    async def cached() -> None:
        pipeline.predict([question(known, device.name, 1.0)], devices, RUNTIME)

    rows = [await measure("new model", 3, new_model), await measure("new question", 200, new_question), await measure("cached", 500, cached)]
    return [*rows, await over_grpc(data, devices, device.name)]


async def over_grpc(data: bytes, devices: dict[DeviceName, Device], device: DeviceName) -> dict[str, Any]:
    """The cached question through a socket."""
    settings = PredictorSettings(grpc=Grpc(port=0))
    server = PredictorServer(settings)
    await server.start()
    await server.open(served.load(settings.bundles))
    client = GrpcPredictor(f"127.0.0.1:{server.port}", timeout_s=30.0)
    try:
        digest = (await client.analyze(data, {})).graph_digest

        async def ask() -> None:
            await client.predict([question(digest, device, 1.0)], devices, RUNTIME)

        await ask()
        return await measure("cached, over gRPC", 500, ask)
    finally:
        await client.close()
        await server.stop(0.0, 1.0)


def main() -> int:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description="Time of the predictor on ResNet-50")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load average at start {load:.2f}")
    rows = asyncio.run(bench())
    if given.json:
        facts = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count(), "loadAverageAtStart": load, "python": sys.version.split()[0]}
        given.json.write_text(json.dumps({**facts, "runs": RUNS, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

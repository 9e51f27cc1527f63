"""How long the extender's filter takes at 100, 1,000 and 5,000 nodes: in process, and over HTTP on loopback.

`python bench/extender_filter.py [--json FILE]`. Devices and latencies are made up (`support.toy_predictors`): this measures our own code and aiohttp, not
the predictor, and no accuracy figure may rest on it. Client and server share one process, hence one core.

- warm: the same kind of pod was judged before, as with the second replica of a service.
- cold: nothing is remembered; all distinct signatures are judged anew, the toy predictor being asked in process.
- uneven: every node has another signature (strangers of different sizes), nothing is remembered: the worst case.
Each figure: the median of so many calls in a run; then median, least and most of five runs. p99 is that of all calls of all runs.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import aiohttp
import msgspec
from aiohttp import web
from stowplan_extender import wire
from stowplan_extender.serving import servers
from stowplan_fleet import heaps
from support import harbours
from support.quays import Quay

RUNS = 5
NODES = (100, 1_000, 5_000)
DISTINCT = 12  # signatures in the even cluster: a dozen, as real clusters bought in batches have


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    where: str
    kind: str
    nodes: int
    calls: int


def cluster(nodes: int, *, uneven: bool) -> tuple[Quay, list[str]]:
    """A cluster in memory, with a resident or a stranger on most nodes."""
    quay = Quay(ant=10.0, bee=8.0)
    quay.service("ant")
    quay.service("bee", slo_ms=500)
    names = [f"node-{index:05d}.example.internal" for index in range(nodes)]
    for index, name in enumerate(names):
        quay.node(name, cores=32)
        millicores = 100 + index if uneven else 1_000 * (index % DISTINCT)
        if millicores:
            quay.calls.pods[f"vision/s{index}"] = harbours.pod_json(f"s{index}", None, cpu=f"{millicores}m", node_name=name)
            quay.watch(f"s{index}")
        if index % 2:
            quay.calls.pods[f"vision/r{index}"] = harbours.pod_json(f"r{index}", "bee", node_name=name)
            quay.watch(f"r{index}")
    quay.view.settle()
    heaps.settle()  # as the process does once its view is listed
    return quay, names


def forget(quay: Quay) -> None:
    """Nothing is remembered any more."""
    quay.predictions._held.clear()  # noqa: SLF001 - a bench of the cold path has to make it cold
    quay.judge._memories.clear()  # noqa: SLF001


async def measure(calls: int, ask: Callable[[], Awaitable[object]], before: Callable[[], None]) -> tuple[list[float], list[float]]:
    """Medians of each run, and all single times, in milliseconds."""
    medians: list[float] = []
    every: list[float] = []
    for _ in range(RUNS):
        times = []
        for _ in range(calls):
            before()
            started = time.perf_counter()
            await ask()
            times.append(1e3 * (time.perf_counter() - started))
        medians.append(statistics.median(times))
        every += times
    return medians, every


async def in_process(case: Case) -> tuple[list[float], list[float]]:
    """From the request's bytes to the answer's bytes, without a socket."""
    quay, names = cluster(case.nodes, uneven=case.kind == "uneven")
    body = request(quay, names)

    async def ask() -> None:
        wire.write(await quay.verbs.filter(wire.read_args(body)))

    await ask()
    return await measure(case.calls, ask, (lambda: None) if case.kind == "warm" else (lambda: forget(quay)))


async def over_http(case: Case) -> tuple[list[float], list[float]]:
    """One keep-alive connection on loopback."""
    quay, names = cluster(case.nodes, uneven=case.kind == "uneven")
    body = request(quay, names)
    runner = web.ServerRunner(servers.scheduler_server(quay.verbs, quay.metrics, 8 << 20))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as http:

            async def ask() -> None:
                async with http.post(f"http://127.0.0.1:{runner.addresses[0][1]}/filter", data=body, headers={"Content-Type": "application/json"}) as answer:
                    await answer.read()

            await ask()
            return await measure(case.calls, ask, (lambda: None) if case.kind == "warm" else (lambda: forget(quay)))
    finally:
        await runner.cleanup()


def request(quay: Quay, names: list[str]) -> bytes:
    """What kube-scheduler would send."""
    quay.pod("new", "ant")
    return msgspec.json.encode({"Pod": quay.calls.pods["vision/new"], "Nodes": None, "NodeNames": names})


def row(case: Case, medians: list[float], every: list[float]) -> dict[str, Any]:
    """One result."""
    return {
        "where": case.where,
        "kind": case.kind,
        "nodes": case.nodes,
        "callsPerRun": case.calls,
        "medianMilliseconds": round(statistics.median(medians), 3),
        "leastMilliseconds": round(min(medians), 3),
        "mostMilliseconds": round(max(medians), 3),
        "p99Milliseconds": round(statistics.quantiles(every, n=100)[98], 3),
    }


async def bench() -> list[dict[str, Any]]:
    """All rows."""
    rows = []
    for where, run in (("in process", in_process), ("HTTP", over_http)):
        for kind, calls in (("warm", 200), ("cold", 50), ("uneven", 5)):
            for nodes in NODES:
                case = Case(where, kind, nodes, calls)
                rows.append(row(case, *await run(case)))
                shown = rows[-1]
                print(
                    f"{where:<11} {kind:<7} {nodes:>6} nodes   median {shown['medianMilliseconds']:>9.3f} ms"
                    f"   ({shown['leastMilliseconds']:.3f} to {shown['mostMilliseconds']:.3f})   p99 {shown['p99Milliseconds']:.3f} ms"
                )
    return rows


def main() -> int:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description="Time of the extender's filter")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load average at start {load:.2f}, made-up latencies")
    try:
        from uvloop import run  # noqa: PLC0415 - as the extender itself does
    except ImportError:
        from asyncio import run  # type: ignore[assignment]  # noqa: PLC0415
    rows = run(bench())
    if given.json:
        facts = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count(), "loadAverageAtStart": load, "python": sys.version.split()[0]}
        given.json.write_text(json.dumps({**facts, "runs": RUNS, "fabricated": True, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

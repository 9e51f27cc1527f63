"""Pods a second of kube-scheduler with our extender against the same scheduler without it, on one cluster, in turns."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

import grpc
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_extender.settings import LeaseSettings
from stowplan_fleet import keys
from support import components

from bench.parts import worlds
from bench.parts.worlds import EXAMPLES, NAMESPACE, World

Figures = dict[str, float]
LEASE = "stowplan-scheduler"
SERVICES = ("one", "two", "three", "four")
_MODEL = EXAMPLES / "models" / "squeezenet.onnx"
_TIMEOUT_S = 240.0


async def compared(sizes: Sequence[tuple[int, int]], runs: int, best_k: int) -> list[dict[str, Any]]:
    """For each (nodes, pods): so many runs of both, one after the other, and what came of it."""
    rows = []
    async with worlds.world() as world:
        predictor = components.start_predictor(world.cluster)
        await _serve(world, predictor)
        for nodes, pods in sizes:
            await world.grow(nodes)
            found = []
            for run in range(runs):
                # In turns, and each first as often as the other, so that what drifts touches both.
                order = ("bare", "stowplan") if run % 2 == 0 else ("stowplan", "bare")
                found.append({name: await _run(world, name, pods, predictor, best_k) for name in order})
                print(f"{nodes} nodes, {pods} pods: {found[-1]}", flush=True)
            rows.append(_row(nodes, pods, found))
    return rows


async def paced(nodes: int, pods: int, runs: int, best_k: int) -> list[Figures]:
    """Koordinator's setting: pods are made while they are scheduled; pods a second from the first made to the last bound, and the time of each."""
    found = []
    async with worlds.world() as world:
        predictor = components.start_predictor(world.cluster)
        await _serve(world, predictor)
        await world.grow(nodes)
        for _ in range(runs):
            found.append(await _run(world, "stowplan", pods, predictor, best_k, ahead=False))
            print(f"while made, {nodes} nodes, {pods} pods: {found[-1]}", flush=True)
    return found


async def _run(world: World, name: str, pods: int, predictor_port: int, best_k: int, *, ahead: bool = True) -> Figures:
    """One scheduler's work on so many pods, made before it starts or (`ahead` false) while it runs."""
    cluster = world.cluster
    names = [f"pod-{index:05d}" for index in range(pods)]
    made_s: dict[str, float] = {}
    ours = name == "stowplan"
    objects = [worlds.pod_json(pod, name, SERVICES[index % len(SERVICES)] if ours else None) for index, pod in enumerate(names)]

    def noted() -> Any:  # noqa: ANN401 -- a generator that notes when each was taken
        for item in objects:
            made_s[item["metadata"]["name"]] = time.perf_counter()
            yield item

    if ahead:
        await world.create(f"/api/v1/namespaces/{NAMESPACE}/pods", noted())
    # As the chart sets it: only who holds the Lease binds.
    lease = {"NAME": LEASE, "NAMESPACE": components.SYSTEM_NAMESPACE, "POD_NAME": "bench"}
    more = {"STOWPLAN_EXTENDER_PLACEMENT_BEST_K": str(best_k), **{f"STOWPLAN_EXTENDER_LEASE_{key}": value for key, value in lease.items()}}
    extender = components.extender(cluster, predictor_port, "stowplan-scheduler", more=more) if ours else None
    if extender is not None:
        extender.start()
        # What a freshly started one waits before it binds is no part of a pace.
        await asyncio.sleep(LeaseSettings().takeover_s + 1.0)
    idle = worlds.cpu_s_by_part(cluster)
    before = {process: worlds.cpu_s(cluster.processes[process]) for process in ("extender", "predictor") if process in cluster.processes}
    try:
        with worlds.scheduler(cluster, name, f"http://127.0.0.1:{extender.port}" if extender else None):
            if not ahead:
                await asyncio.sleep(3.0)  # the scheduler's caches fill
                await world.create(f"/api/v1/namespaces/{NAMESPACE}/pods", noted())
            bound = await world.until_bound(names, _TIMEOUT_S)
            parts = worlds.cpu_s_by_part(cluster)
            running = await world.until_running(names, _TIMEOUT_S)
        spent = {process: worlds.cpu_s(cluster.processes[process]) - seconds for process, seconds in before.items()}
        peak = worlds.peak_mb(cluster.processes["extender"]) if ours else 0.0
    finally:
        if extender is not None:
            extender.kill()
    waited = sorted(world.bound_s[pod] - made_s[pod] for pod in names)
    await world.clear()
    first = bound[0] if ahead else min(made_s.values())
    figures = {
        "podsPerSecond": (pods - 1) / (bound[-1] - first),
        "runningPodsPerSecond": (pods - 1) / (running[-1] - first),
        "p50Seconds": waited[pods // 2],
        "p99Seconds": waited[int(pods * 0.99)],
    }
    figures |= {_until_bound(part): 1e3 * (seconds - idle.get(part, 0.0)) / pods for part, seconds in parts.items()}
    if ours:
        figures |= {f"{process}CpuMillisecondsPerPod": 1e3 * seconds / pods for process, seconds in spent.items()} | {"extenderPeakMegabytes": peak}
    return figures


def _until_bound(part: str) -> str:
    return f"untilBound{part[0].upper()}{part[1:]}CpuMillisecondsPerPod"


async def _serve(world: World, predictor_port: int) -> None:
    """A Lease, and services whose model the predictor knows, as the operator would leave them: with the digest of the graph, and one replica."""
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{components.SYSTEM_NAMESPACE}/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}, "spec": {"holderIdentity": "bench_1"}}
    await world.request("POST", leases, lease)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{predictor_port}") as channel:
        stub = predictor_pb2_grpc.PredictorServiceStub(channel)
        found = await stub.AnalyzeGraph(pb.AnalyzeGraphRequest(onnx_model=_MODEL.read_bytes()), timeout=30)
    path = f"/apis/{keys.GROUP}/{keys.VERSION}/namespaces/{NAMESPACE}/{keys.PLURAL}"
    for name in SERVICES:
        await world.request("POST", path, worlds.service_json(name))
        status = {"status": {"model": {"digest": found.model_digest, "graphDigest": found.graph_digest}, "replicas": 1}}
        await world.request("PATCH", f"{path}/{name}/status", status, "application/merge-patch+json")


def _row(nodes: int, pods: int, found: Sequence[dict[str, Figures]]) -> dict[str, Any]:
    def spread(values: Sequence[float]) -> dict[str, float]:
        return {"median": round(statistics.median(values), 4), "least": round(min(values), 4), "most": round(max(values), 4)}

    ours = [run["stowplan"] for run in found]
    return {
        "nodes": nodes,
        "pods": pods,
        "runs": len(found),
        "barePodsPerSecond": spread([run["bare"]["podsPerSecond"] for run in found]),
        "podsPerSecond": spread([run["podsPerSecond"] for run in ours]),
        "ratio": spread([run["stowplan"]["podsPerSecond"] / run["bare"]["podsPerSecond"] for run in found]),
        "bareRunningPodsPerSecond": spread([run["bare"]["runningPodsPerSecond"] for run in found]),
        "runningPodsPerSecond": spread([run["runningPodsPerSecond"] for run in ours]),
        "runningRatio": spread([run["stowplan"]["runningPodsPerSecond"] / run["bare"]["runningPodsPerSecond"] for run in found]),
        "extenderCpuMillisecondsPerPod": spread([run["extenderCpuMillisecondsPerPod"] for run in ours]),
        "predictorCpuMillisecondsPerPod": spread([run["predictorCpuMillisecondsPerPod"] for run in ours]),
        "extenderPeakMegabytes": spread([run["extenderPeakMegabytes"] for run in ours]),
        "untilBoundCpuMillisecondsPerPod": {
            name: {part: spread([run[name].get(_until_bound(part), 0.0) for run in found]) for part in worlds.PARTS} for name in ("bare", "stowplan")
        },
    }

"""The extender's filter over HTTP with the real decision: its process as users start it, beside a real predictor, before an API server in memory.

The API server is the only thing here that is not real: it lists and watches five thousand nodes without taking a core from what is measured.
"""

import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import yaml
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet import keys
from support.fake_apiservers import FakeApiServer

from bench.parts import processes, worlds
from bench.parts.figures import percentile
from bench.parts.worlds import EXAMPLES

NODES, PODS, CONFIGMAPS = "/api/v1/nodes", "/api/v1/pods", "/api/v1/configmaps"
SERVICES = f"/apis/{keys.GROUP}/{keys.VERSION}/{keys.PLURAL}"
WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Case:
    """One row."""

    nodes: int
    signatures: int
    changing: bool
    """Whether each filter is followed by the binding of its pod, which changes the signature of one node."""


@dataclass(slots=True)
class Harbour:
    """A running extender, and the cluster it sees."""

    api: FakeApiServer
    loop: asyncio.AbstractEventLoop
    pid: int
    port: int
    names: list[str]

    def put(self, path: str, item: dict[str, Any]) -> None:
        """An object appears, and the watches hear of it."""

        async def now() -> None:
            self.api.put(path, item)

        asyncio.run_coroutine_threadsafe(now(), self.loop).result()


def measured(case: Case, calls: int, runs: int) -> dict[str, Any]:
    """The row of a case: every run starts both processes anew."""
    medians, every, bindings, peaks, cpu = [], list[float](), list[float](), [], []
    for _ in range(runs):
        with harbour(case) as found:
            before = worlds.cpu_s(found.pid)
            times, bound = _run(found, case, calls)
            cpu.append(1e3 * (worlds.cpu_s(found.pid) - before) / (calls + WARM_UP))
            peaks.append(worlds.peak_mb(found.pid))
        medians.append(statistics.median(times))
        every += times
        bindings += bound
    ascending = sorted(every)
    row = {
        "nodes": case.nodes, "signatures": case.signatures, "changing": case.changing, "runs": runs, "callsPerRun": calls,
        "medianMilliseconds": round(statistics.median(medians), 3), "leastMilliseconds": round(min(medians), 3), "mostMilliseconds": round(max(medians), 3),
        "p99Milliseconds": round(percentile(ascending, 99), 3), "longestMilliseconds": round(ascending[-1], 3),
        "cpuMillisecondsPerCall": round(statistics.median(cpu), 3), "peakMegabytes": round(max(peaks), 1),
    }  # fmt: skip
    if bindings:
        row |= {"bindMedianMilliseconds": round(statistics.median(bindings), 3), "bindP99Milliseconds": round(percentile(sorted(bindings), 99), 3)}
    return row


def _run(found: Harbour, case: Case, calls: int) -> tuple[list[float], list[float]]:
    connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=30)
    times, bindings = [], []
    for index in range(calls + WARM_UP):
        pod = _pod(f"new-{index}", "ant")
        body = json.dumps({"Pod": pod, "Nodes": None, "NodeNames": found.names}).encode()
        if case.changing:
            found.put(PODS, pod)
        took_ms, answer = _ask(connection, "filter", body)
        if not answer["NodeNames"]:
            raise RuntimeError(f"no node was accepted: {json.dumps(answer)[:500]}")
        times.append(took_ms)
        if case.changing:
            # Spread evenly over the nodes, so that each binding makes a signature that was not there.
            node = answer["NodeNames"][(index * 7919) % len(answer["NodeNames"])]
            binding = {"PodName": f"new-{index}", "PodNamespace": "bench", "PodUID": pod["metadata"]["uid"], "Node": node}
            took_ms, bound = _ask(connection, "bind", json.dumps(binding).encode())
            if bound["Error"]:
                raise RuntimeError(bound["Error"])
            bindings.append(took_ms)
            found.api.log.clear()
    connection.close()
    return times[WARM_UP:], bindings[WARM_UP:]


def _ask(connection: http.client.HTTPConnection, verb: str, body: bytes) -> tuple[float, Any]:
    started = time.perf_counter()
    connection.request("POST", f"/{verb}", body, {"Content-Type": "application/json"})
    content = connection.getresponse().read()
    return 1e3 * (time.perf_counter() - started), json.loads(content)


@contextmanager
def harbour(case: Case) -> Iterator[Harbour]:
    """An extender and a predictor on one core, the API server and the client on the other."""
    server_core, client_core = processes.cores()
    with processes.serving(server_core) as predictor, TemporaryDirectory() as folder, _api() as (api, loop, url):
        graph = _graph(predictor.port)
        names = _fill(api, case, graph)
        kubeconfig = Path(folder) / "kubeconfig"
        cluster = {"name": "bench", "cluster": {"server": url}}
        context = {"name": "bench", "context": {"cluster": "bench", "user": "bench"}}
        user = {"name": "bench", "user": {"token": "none"}}
        kubeconfig.write_text(
            json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "bench", "clusters": [cluster], "users": [user], "contexts": [context]})
        )
        environment = {
            "STOWPLAN_EXTENDER_API_KUBECONFIG": str(kubeconfig),
            "STOWPLAN_EXTENDER_SERVING_PORT": "0",
            "STOWPLAN_EXTENDER_SERVING_HEALTH_PORT": "0",
            "STOWPLAN_EXTENDER_PREDICTOR_TARGETS": f"127.0.0.1:{predictor.port}",
            "STOWPLAN_EXTENDER_LOG_LEVEL": "info",
        }
        command = ["taskset", "-c", str(server_core), sys.executable, "-m", "stowplan_extender"]
        os.sched_setaffinity(0, {client_core})
        process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)
        try:
            port, health = _ports(process)
            threading.Thread(target=_drain, args=(process,), daemon=True).start()
            _await_ready(health)
            api.log.clear()
            yield Harbour(api, loop, process.pid, port, names)
        finally:
            process.terminate()
            process.wait(30)


def _fill(api: FakeApiServer, case: Case, graph: str) -> list[str]:
    snapshot = yaml.safe_load((EXAMPLES / "cluster.yaml").read_text())
    (described,) = (item for item in snapshot["items"] if keys.DESCRIPTORS_LABEL in item["metadata"].get("labels", {}))
    api.put(CONFIGMAPS, {**described, "metadata": {"name": "devices", "namespace": "bench", "labels": described["metadata"]["labels"]}})
    for name in ("ant", "bee"):
        status = {"model": {"graphDigest": graph}, "replicas": 1}
        service = worlds.service_json(name)
        api.put(SERVICES, {**service, "metadata": {"name": name, "namespace": "bench"}, "status": status})
    names = [f"node-{index:05d}.example.internal" for index in range(case.nodes)]
    for index, name in enumerate(names):
        api.put(NODES, worlds.node_json(name))
        kind = index % case.signatures
        if kind:
            # A stranger of another size each: half of a signature; every other kind has a resident of ours beside it.
            api.put(PODS, _pod(f"stranger-{index}", None, name, f"{100 + kind}m"))
        if kind % 2:
            api.put(PODS, _pod(f"resident-{index}", "bee", name))
    return names


def _pod(name: str, service: str | None, node: str = "", cpu: str = "1") -> dict[str, Any]:
    pod = worlds.pod_json(name, keys.SCHEDULER_NAME if service else "default-scheduler", service)
    pod["metadata"] |= {"namespace": "bench", "uid": f"uid-{name}"}
    pod["metadata"].setdefault("annotations", {})
    if service is None:
        pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    if node:
        pod["spec"]["nodeName"] = node
    return pod | {"status": {"phase": "Running" if node else "Pending"}}


def _graph(port: int) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = predictor_pb2_grpc.PredictorServiceStub(channel)
        model = (EXAMPLES / "models" / "squeezenet.onnx").read_bytes()
        return str(stub.AnalyzeGraph(pb.AnalyzeGraphRequest(onnx_model=model), timeout=30).graph_digest)


@contextmanager
def _api() -> Iterator[tuple[FakeApiServer, asyncio.AbstractEventLoop, str]]:
    api, ready, ended = FakeApiServer(), threading.Event(), asyncio.Event()
    found: list[tuple[asyncio.AbstractEventLoop, str]] = []

    async def serve() -> None:
        async with api.serving() as url:
            found.append((asyncio.get_running_loop(), url))
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError("the API server in memory did not start")
    loop, url = found[0]
    try:
        yield api, loop, url
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


def _ports(process: "subprocess.Popen[str]") -> tuple[int, str]:
    for line in process.stderr or ():
        told = json.loads(line)
        if told["msg"] == "serving":
            return int(told["scheduler"].rpartition(":")[2]), str(told["health"])
    raise RuntimeError("the extender ended before it served")


def _drain(process: "subprocess.Popen[str]") -> None:
    for _ in process.stderr or ():
        pass


def _await_ready(health: str) -> None:
    deadline = time.monotonic() + 60
    host = health.removeprefix("http://")
    while True:
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status == http.HTTPStatus.OK:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the extender is not ready: {text!r}")
        time.sleep(0.05)

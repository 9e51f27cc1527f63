"""A real control plane to bench on: etcd, API server, controllers, kwok's nodes, kube-scheduler; and our processes beside it, with what they cost."""

import asyncio
import json
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import controlplane_parts as parts
import msgspec
import yaml
from controlplane_binaries import ensure
from controlplane_clusters import Cluster
from stowplan_fleet import keys
from support import components
from support.controlplane import apply

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
NAMESPACE: Final = "bench"
DEVICE: Final = "made-up-quick"
# Requests to the API server at once while objects are made: what keeps its core busy.
_AT_ONCE: Final = 32
# What takes time on cores, and how the names of its processes begin; the rest is controllers, kwok in the kubelets' place, and the bench itself.
PARTS: Final = {"scheduler": ("scheduler-",), "extender": ("extender", "predictor"), "apiServer": ("kube-apiserver", "etcd"), "rest": ()}


class _Metadata(msgspec.Struct):
    name: str = ""
    resource_version: str = msgspec.field(name="resourceVersion", default="")


class _Spec(msgspec.Struct):
    node: str = msgspec.field(name="nodeName", default="")


class _Status(msgspec.Struct):
    phase: str = ""


class _Pod(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


class _Event(msgspec.Struct):
    type: str
    object: _Pod


@dataclass
class World:
    """A cluster, and a client that makes and watches objects."""

    cluster: Cluster
    http: aiohttp.ClientSession
    nodes: int = 0
    bound_s: dict[str, float] = field(default_factory=dict)
    """When the watch showed each pod with a node, by its name (`time.perf_counter`)."""
    running_s: dict[str, float] = field(default_factory=dict)
    """And when it showed that the node, or kwok in its place, had set it running."""

    async def request(self, method: str, path: str, body: object = None, content: str = "application/json") -> None:
        """One request.

        Raises:
            RuntimeError: it was refused.
        """
        data = msgspec.json.encode(body) if body is not None else None
        async with self.http.request(method, self.cluster.url + path, data=data, headers={"Content-Type": content}) as response:
            text = await response.read()
            if response.status // 100 != 2:
                raise RuntimeError(f"{method} {path}: {response.status} {text[:300]!r}")

    async def create(self, path: str, objects: Iterable[dict[str, Any]]) -> None:
        """Makes objects, several at once."""
        waiting = iter(objects)

        async def work() -> None:
            for item in waiting:
                await self.request("POST", path, item)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    async def grow(self, nodes: int) -> None:
        """Adds nodes until there are so many, and waits until kwok has made each of them ready."""
        await self.create("/api/v1/nodes", (node_json(f"node-{index:05d}") for index in range(self.nodes, nodes)))
        self.nodes = nodes
        while await self._ready() < nodes:  # noqa: ASYNC110 -- nothing tells but asking
            await asyncio.sleep(0.5)

    async def clear(self) -> None:
        """Takes all pods away and waits until they are gone."""
        await self.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods", {"gracePeriodSeconds": 0})
        while await self._count(f"/api/v1/namespaces/{NAMESPACE}/pods"):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        self.bound_s.clear()
        self.running_s.clear()

    async def until_bound(self, names: Sequence[str], timeout_s: float) -> list[float]:
        """Waits until all of these pods have a node; when each was seen to have one."""
        return await self._until(self.bound_s, "bound", names, timeout_s)

    async def until_running(self, names: Sequence[str], timeout_s: float) -> list[float]:
        """Waits until all of these pods run; when each was seen to."""
        return await self._until(self.running_s, "running", names, timeout_s)

    async def _until(self, seen: dict[str, float], what: str, names: Sequence[str], timeout_s: float) -> list[float]:
        deadline = time.perf_counter() + timeout_s
        while not all(name in seen for name in names):
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{sum(name in seen for name in names)} of {len(names)} pods {what} within {timeout_s:g} s")
            await asyncio.sleep(0.02)
        return sorted(seen[name] for name in names)

    async def watch(self) -> None:
        """Notes when pods get their nodes, until cancelled."""
        decoder = msgspec.json.Decoder(_Event)
        path = f"{self.cluster.url}/api/v1/namespaces/{NAMESPACE}/pods"
        while True:
            rest = b""
            with suppress(aiohttp.ClientError):
                async with self.http.get(path, params={"watch": "1"}, timeout=aiohttp.ClientTimeout(total=None)) as response:
                    async for chunk in response.content.iter_any():
                        now = time.perf_counter()
                        *lines, rest = (rest + chunk).split(b"\n")
                        for line in lines:
                            event = decoder.decode(line)
                            if event.object.spec.node and event.type in {"ADDED", "MODIFIED"}:
                                self.bound_s.setdefault(event.object.metadata.name, now)
                                if event.object.status.phase == "Running":
                                    self.running_s.setdefault(event.object.metadata.name, now)

    async def _ready(self) -> int:
        async with self.http.get(f"{self.cluster.url}/api/v1/nodes", params={"resourceVersion": "0"}) as response:
            items = json.loads(await response.read())["items"]
        return sum(any(entry["type"] == "Ready" and entry["status"] == "True" for entry in item["status"].get("conditions", ())) for item in items)

    async def _count(self, path: str) -> int:
        async with self.http.get(self.cluster.url + path, params={"limit": "1"}) as response:
            return len(json.loads(await response.read())["items"])


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A control plane with our CRD, accounts and the examples' made-up devices; no nodes yet, and no scheduler."""
    with tempfile.TemporaryDirectory(prefix="stowplan-bench-") as folder:
        cluster = Cluster(ensure(), Path(folder))
        try:
            parts.start_apiserver(cluster)
            parts.start_controller_manager(cluster)
            parts.start_kwok(cluster)
            furnish(cluster)
            tls = ssl.create_default_context(cafile=str(cluster.ca_file))
            headers = {"Authorization": f"Bearer {cluster.tokens['admin']}"}
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls), headers=headers) as http:
                found = World(cluster, http)
                watching = asyncio.create_task(found.watch())
                yield found
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
        finally:
            cluster.stop_all()


def furnish(cluster: Cluster) -> None:
    """Installs CRD, accounts and device descriptors, and makes the bench's namespace."""
    cluster.kubectl("apply", "-f", str(components.CRD))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=20s", "crd/inferenceservices.stowplan.dev")
    items = yaml.safe_load((EXAMPLES / "cluster.yaml").read_text())["items"]
    (described,) = (item for item in items if keys.DESCRIPTORS_LABEL in item["metadata"].get("labels", {}))
    for name in (components.SYSTEM_NAMESPACE, NAMESPACE):
        apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    metadata = {"name": "devices", "namespace": components.SYSTEM_NAMESPACE, "labels": described["metadata"]["labels"]}
    apply(cluster, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": described["data"]})
    components.install_accounts(cluster)
    deadline = time.monotonic() + 20
    while "default" not in cluster.kubectl("get", "serviceaccounts", "-n", NAMESPACE, "-o", "name"):
        if time.monotonic() > deadline:
            raise RuntimeError("no default service account")
        time.sleep(0.1)


@contextmanager
def scheduler(cluster: Cluster, name: str, extender_url: str | None) -> Iterator[None]:
    """kube-scheduler under that name, asking an extender where one is named; its sampling and its client's rate are the same either way."""
    configuration = parts.scheduler_configuration(name, cluster.kubeconfig("system:kube-scheduler"), extender_url)
    configuration["percentageOfNodesToScore"] = 100
    # Its default of 50 requests a second would be what is measured.
    configuration["clientConnection"] |= {"qps": 5000, "burst": 5000}
    file = cluster.run_dir / f"bench-{name}.json"
    file.write_text(json.dumps(configuration))
    cluster.start(f"scheduler-{name}", [cluster.binaries.path("kube-scheduler"), f"--config={file}", "--secure-port=0", "-v=0"])
    try:
        yield
    finally:
        cluster.stop(f"scheduler-{name}", kill=True)


def node_json(name: str, cpu: str = "32") -> dict[str, Any]:
    """A node that kwok plays."""
    resources = {"cpu": cpu, "memory": "256Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": name, keys.DEVICE_LABEL: DEVICE}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": resources, "capacity": resources},
    }


def pod_json(name: str, scheduler_name: str, service: str | None) -> dict[str, Any]:
    """A pod of one core; of a service of ours, or (None) a plain one."""
    resources = {"cpu": "1", "memory": "64Mi"} | ({keys.MARKER_RESOURCE: keys.MARKER_AMOUNT} if service else {})
    metadata: dict[str, Any] = {"name": name}
    if service:
        metadata |= {"labels": {keys.SERVICE_LABEL: service}, "annotations": {keys.SLICE_CLASS_ANNOTATION: f"{DEVICE}/cpu:1"}}
    container = {"name": "server", "image": "example.com/server", "resources": {"requests": resources, "limits": resources}}
    spec = {"schedulerName": scheduler_name, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def service_json(name: str, slo_ms: int = 60_000) -> dict[str, Any]:
    """An InferenceService that tolerates what cannot be judged, so that a full node is refused for want of room only."""
    return {
        "apiVersion": f"{keys.GROUP}/{keys.VERSION}",
        "kind": keys.KIND,
        "metadata": {"name": name},
        "spec": {
            "model": {"uri": f"configmap://{name}-graph/model.onnx"},
            "slo": {"latencyMilliseconds": slo_ms},
            "load": {"requestsPerSecond": 1},
            "placement": {"onUnknown": "Allow"},
            "template": {"spec": {"containers": [{"name": "server", "image": "example.com/server"}]}},
        },
    }


def cpu_s(pid: int) -> float:
    """Time on cores of a process and of its living children, so far."""
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return _own_cpu_s(pid) + sum(map(_own_cpu_s, children))


def cpu_s_by_part(cluster: Cluster) -> dict[str, float]:
    """Time on cores so far of all that runs here, this process included, by the parts of `PARTS` that there are."""
    found = {"rest": _own_cpu_s(os.getpid())}
    for name, pid in cluster.processes.items():
        part = next((part for part, names in PARTS.items() if name.startswith(names)), "rest")
        found[part] = found.get(part, 0.0) + cpu_s(pid)
    return found


def peak_mb(pid: int) -> float:
    """The most memory that a process ever held; megabytes of 10^6 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")) / 1e6


def _own_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

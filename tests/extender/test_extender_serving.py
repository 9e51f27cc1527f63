"""A whole extender over HTTP: the scheduler's verbs, health and metrics, in front of an API server that speaks list and watch."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from stowplan_extender import processes
from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.settings import ApiSettings, ExtenderSettings, PlacementSettings, ServingSettings
from stowplan_fleet import descriptors, keys
from stowplan_fleet.errors import PredictorUnavailable
from support import harbours
from support.fake_apiservers import FakeApiServer
from support.quays import TOY_DEVICE
from support.toy_predictors import ToyPredictor

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
CONFIGMAPS, SERVICES = "/api/v1/configmaps", f"/apis/{keys.GROUP}/{keys.VERSION}/{keys.PLURAL}"


class ToyClient(ToyPredictor):
    """The toy predictor with the manners of the gRPC client."""

    async def __aenter__(self) -> "ToyClient":
        """Opens nothing."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes nothing."""

    async def describe(self, runtime: str = "") -> str:
        """Says which bundle answers."""
        if not self.up:
            raise PredictorUnavailable("switched off")
        return f"{self.bundle}{runtime}"


@dataclass
class Extender:
    """A running one, as the scheduler and the kubelet see it."""

    api: FakeApiServer
    toy: ToyClient
    http: aiohttp.ClientSession
    addresses: processes.Addresses

    async def post(self, verb: str, message: object) -> Any:
        """Asks a verb; the status is 200 whatever happens."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        async with self.http.post(f"{self.addresses.scheduler}/{verb}", data=body, headers={"Content-Type": "application/json"}) as response:
            assert response.status == 200
            return await response.json()

    async def get(self, path: str) -> tuple[int, str]:
        """Asks the health port."""
        async with self.http.get(f"{self.addresses.health}{path}") as response:
            return response.status, await response.text()

    async def ready(self) -> None:
        """Waits until it says so."""
        await self.says((200, "ok"))

    async def says(self, wanted: tuple[int, str]) -> None:
        """Waits until /readyz answers so; there is nothing but asking, as a kubelet does."""
        async with asyncio.timeout(60):
            while True:
                status, text = await self.get("/readyz")
                if status == wanted[0] and wanted[1] in text:
                    return
                await asyncio.sleep(0.01)

    async def filter(self, pod: dict[str, Any], *names: str) -> Any:
        """Asks which nodes may take a pod."""
        return await self.post("filter", {"Pod": pod, "Nodes": None, "NodeNames": list(names)})


def settings(best_k: int = 0) -> ExtenderSettings:
    return ExtenderSettings(
        serving=ServingSettings(port=0, health_port=0, drain_s=5.0, body_bytes_max=1 << 16),
        api=ApiSettings(backoff_s=0.01, backoff_max_s=0.05, stale_after_s=0.3),
        placement=PlacementSettings(best_k=best_k),
    )


@asynccontextmanager
async def extender(monkeypatch: pytest.MonkeyPatch, *, up: bool = True, best_k: int = 0) -> AsyncIterator[Extender]:
    toy = ToyClient({harbours.digest("ant"): 10.0, harbours.digest("bee"): 10.0})
    toy.up = up
    monkeypatch.setattr(processes, "GrpcPredictor", lambda *_: toy)
    api = FakeApiServer()
    text = descriptors.write_device(TOY_DEVICE).decode()
    api.put(CONFIGMAPS, {"metadata": {"name": "devices", "namespace": "stowplan-system"}, "data": {f"{TOY_DEVICE.name}.json": text}})
    for name in ("one", "two"):
        api.put(NODES, harbours.node_json(name, cores=2))
    api.put(SERVICES, harbours.service_json("ant"))
    api.put(SERVICES, harbours.service_json("bee", slo_ms=14))
    async with (
        api.serving() as url,
        ApiConnection(url) as connection,
        aiohttp.ClientSession() as http,
        processes.running(settings(best_k), connection) as addresses,
    ):
        yield Extender(api, toy, http, addresses)


async def test_a_pod_goes_the_whole_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filter, prioritize, bind: the resident's node is refused with its name, the other is taken, and the pod carries the decision."""
    async with extender(monkeypatch) as running:
        running.api.put(PODS, harbours.pod_json("old", "bee", node_name="one"))
        pod = harbours.pod_json("new", "ant")
        running.api.put(PODS, pod)
        await running.ready()
        result = await running.filter(pod, "one", "two", "three")
        assert result["NodeNames"] == ["two"]
        assert result["FailedNodes"] == {
            "one": "would push resident vision/bee over its SLO of 14 ms",
            "three": "the node is not in the extender's view yet",
        }
        assert await running.post("prioritize", {"Pod": pod, "NodeNames": ["two"]}) == [{"Host": "two", "Score": 5}]
        bound = await running.post("bind", {"PodName": "new", "PodNamespace": "vision", "PodUID": "uid-new", "Node": "two"})
        assert bound == {"Error": ""}
        stored = running.api.pod("vision", "new")
        assert stored is not None
        assert stored["spec"]["nodeName"] == "two"
        assert stored["metadata"]["annotations"][keys.BUNDLE_ANNOTATION] == "toy@1"


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/preempt", 404), ("GET", "/filter", 405), ("PUT", "/bind", 405)])
async def test_only_the_verbs_are_answered(monkeypatch: pytest.MonkeyPatch, method: str, path: str, status: int) -> None:
    """Another path or method is refused, and says what is answered here."""
    async with extender(monkeypatch) as running, running.http.request(method, f"{running.addresses.scheduler}{path}") as response:
        assert response.status == status
        assert "POST /filter, /prioritize and /bind" in await response.text()


async def test_clients_are_told_to_go_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it drains, an answer is whole, says that it is the connection's last, and ends it; draining ends once nobody is connected."""
    async with extender(monkeypatch) as running:
        await running.ready()
        async with running.http.post(f"{running.addresses.scheduler}/prioritize", data=b"{}") as response:
            assert "Connection" not in response.headers
        draining = asyncio.create_task(running.addresses.drain())
        await asyncio.sleep(0)
        async with running.http.post(f"{running.addresses.scheduler}/prioritize", data=b"{}") as response:
            assert (response.headers["Connection"], await response.json()) == ("close", [])
        async with asyncio.timeout(5):
            await draining


async def test_ready_only_once_synced_and_the_predictor_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alive at once; ready only after every list and the predictor's first answer; a predictor that leaves later is told, not fatal."""
    async with extender(monkeypatch, up=False) as running:
        assert await running.get("/healthz") == (200, "ok")
        await running.says((503, "the predictor was never reached"))
        assert 'stowplan_extender_view_synced{resource="pods"} 1.0' in (await running.get("/metrics"))[1]


async def test_a_lost_api_server_stops_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch broken for longer than the limit makes filter and bind answer with a retryable error, and the extender unready."""
    async with extender(monkeypatch) as running:
        pod = harbours.pod_json("new", "ant")
        running.api.put(PODS, pod)
        await running.ready()
        running.api.failing = 10_000
        running.api.disconnect()
        await running.says((503, "lost touch"))
        assert "lost touch" in (await running.filter(pod, "one"))["Error"]
        assert "lost touch" in (await running.post("bind", {"PodName": "new", "PodNamespace": "vision", "PodUID": "uid-new", "Node": "one"}))["Error"]
        running.api.failing = 0
        await running.ready()
        assert (await running.filter(pod, "one"))["NodeNames"] == ["one"]


async def test_best_k_keeps_the_fullest(monkeypatch: pytest.MonkeyPatch) -> None:
    """With best_k = 1 the filter names one node, the fuller; the other is in none of the lists, for nothing is wrong with it."""
    async with extender(monkeypatch, best_k=1) as running:
        running.api.put(PODS, harbours.pod_json("older", "ant", node_name="two"))
        pod = harbours.pod_json("new", "ant")
        running.api.put(PODS, pod)
        await running.ready()
        result = await running.filter(pod, "one", "two")
        assert result["NodeNames"] == ["two"]
        assert result["FailedNodes"] == {}
        assert result["FailedAndUnresolvableNodes"] == {}


@pytest.mark.parametrize(
    ("wishes", "returned"),
    [
        ({}, ["two"]),
        ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}, ["two"]),
        ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}, ["two"]),
        ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]}, ["one", "two"]),
        ({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}}, ["one", "two"]),
        ({"volumes": [{"name": "token", "projected": {"sources": []}}, {"name": "notes", "configMap": {"name": "notes"}}]}, ["two"]),
        ({"volumes": [{"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}]}, ["one", "two"]),
        ({"volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]}, ["one", "two"]),
        ({"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}]}, ["one", "two"]),
    ],
)
async def test_only_a_pod_with_preferences_chooses_among_nodes(monkeypatch: pytest.MonkeyPatch, wishes: dict[str, Any], returned: list[str]) -> None:
    """The fuller node alone goes to a pod that states no preference; one that would rather stand elsewhere, or waits for claims, gets the emptier one, too."""
    async with extender(monkeypatch, best_k=16) as running:
        running.api.put(PODS, harbours.pod_json("older", "ant", node_name="two"))
        pod = harbours.pod_json("new", "ant")
        pod["spec"] |= wishes
        running.api.put(PODS, pod)
        await running.ready()
        assert (await running.filter(pod, "one", "two"))["NodeNames"] == returned


async def test_errors_are_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage, whole nodes, a pod without annotations, a request beyond all size: status 200, and the error in its place."""
    async with extender(monkeypatch) as running:
        await running.ready()
        assert "not an ExtenderArgs" in (await running.post("filter", b"{"))["Error"]
        assert "not an ExtenderBindingArgs" in (await running.post("bind", b"[]"))["Error"]
        assert await running.post("prioritize", b"{") == []
        pod = harbours.pod_json("new", "ant")
        assert "nodeCacheCapable" in (await running.post("filter", {"Pod": pod, "Nodes": {"items": []}}))["Error"]
        assert "too large" in (await running.post("filter", b" " * 100_000))["Error"]
        bare = harbours.pod_json("bare", "ant")
        del bare["metadata"]["annotations"][keys.SLICE_CLASS_ANNOTATION]
        result = await running.filter(bare, "one")
        assert result["FailedAndUnresolvableNodes"] == {"one": "the pod names no slice class: annotation stowplan.dev/slice-class is missing"}
        unknown = await running.filter(harbours.pod_json("new", "cat"), "one")
        assert "InferenceService vision/cat is not known" in unknown["Error"]


async def test_one_broken_object_touches_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service, a node, a pod and a descriptor that cannot be read are counted and skipped; the rest goes on."""
    async with extender(monkeypatch) as running:
        broken = harbours.service_json("broken")
        broken["spec"]["slo"]["latencyMilliseconds"] = -1
        running.api.put(SERVICES, broken)
        running.api.put(NODES, {"metadata": {"name": "odd"}, "status": {"allocatable": {"cpu": "many"}}})
        running.api.put(PODS, harbours.pod_json("weird", "ant", cpu="lots", node_name="one", slice_class="no/slice/at/all"))
        running.api.put(CONFIGMAPS, {"metadata": {"name": "bad", "namespace": "x"}, "data": {"bad.json": "{"}})
        pod = harbours.pod_json("new", "ant")
        running.api.put(PODS, pod)
        await running.ready()
        result = await running.filter(pod, "one", "two", "odd")
        assert result["NodeNames"] == ["one", "two"]
        metrics = (await running.get("/metrics"))[1]
        for resource in ("inferenceservices", "pods", "configmaps"):
            assert f'stowplan_extender_objects_refused_total{{resource="{resource}"}} 1.0' in metrics


async def test_a_running_request_ends_before_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping under load: a request that is being answered gets its answer."""
    pending: asyncio.Task[Any]
    async with aiohttp.ClientSession() as http, extender(monkeypatch) as running:
        pod = harbours.pod_json("new", "ant")
        running.api.put(PODS, pod)
        await running.ready()
        asked, go_on = asyncio.Event(), asyncio.Event()
        answer = running.toy.predict

        async def slow(*args: Any) -> Any:
            asked.set()
            await go_on.wait()
            return await answer(*args)

        monkeypatch.setattr(running.toy, "predict", slow)
        running.http = http
        pending = asyncio.create_task(running.filter(pod, "one"))
        await asked.wait()
        asyncio.get_running_loop().call_later(0.2, go_on.set)
    assert (await pending)["NodeNames"] == ["one"]

"""A whole extender without HTTP in front: the real view, judge and binder over a toy predictor and an API server of one dictionary.

The API server here does what matters to bindings: it lets only one binding of a pod succeed, may lose its answer, and tells the view of what
happened only when the test says so (a slow watch).
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from stowplan_extender.binding.bindings import Binder
from stowplan_extender.binding.leaderships import AlwaysLeading, Leadership
from stowplan_extender.binding.wakeups import WakeUps
from stowplan_extender.cluster.lodgings import record_of
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.errors import ApiRefused, ApiUnreachable
from stowplan_extender.judging.judgements import Judge
from stowplan_extender.judging.predictions import Predictions
from stowplan_extender.metrics import Metrics
from stowplan_extender.recording.recorders import Recorder
from stowplan_extender.serving.verbs import Verbs
from stowplan_extender.settings import PredictorSettings, RecordingSettings, WakeUpSettings
from stowplan_extender.wire import ExtenderArgs, ExtenderBindingArgs
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.manifests import decoding, nodes
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.manifests.services import service_of
from support import harbours
from support.toy_predictors import ToyPredictor
from support.virtual_clocks import HandClock

TOY_DEVICE = CpuDevice(harbours.DEVICE, "toy", (), 4, 0, 0, 0, (CoreThroughput(1, 1e9, 1e9),), {}, fabricated=True)


@dataclass
class MemoryPodCalls:
    """Implements `podcalls.PodCalls` on a dictionary of pods."""

    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    mode: str = "ok"
    """`ok`; `lost`: carried out, no answer; `dropped`: neither; `late`: carried out when the test calls `arrive`; `away`: reads fail too; or a status."""
    written: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    late: list[tuple[ExtenderBindingArgs, dict[str, str]]] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)

    async def get(self, namespace: str, name: str) -> PodManifest:
        """Reads a pod."""
        await asyncio.sleep(0)
        if self.mode == "away":
            raise ApiUnreachable("GET pod: no answer in time")
        pod = self.pods.get(f"{namespace}/{name}")
        if pod is None:
            raise ApiRefused(404, "not found")
        return decoding.from_plain(pod, PodManifest)

    async def bind(self, args: ExtenderBindingArgs, annotations: dict[str, str]) -> None:
        """Writes a Binding."""
        await asyncio.sleep(0)
        if self.mode.isdigit():
            raise ApiRefused(int(self.mode), "made by a test")
        if self.mode == "late":
            self.late.append((args, annotations))
        elif self.mode != "dropped":
            self.carry_out(args, annotations)
        await asyncio.sleep(0)
        if self.mode != "ok":
            raise ApiUnreachable("POST binding: no answer in time")

    async def touch(self, namespace: str, name: str, uid: str) -> None:
        """Notes who was touched."""
        await asyncio.sleep(0)
        if self.mode.isdigit():
            raise ApiRefused(int(self.mode), "made by a test")
        assert uid == f"uid-{name}"
        self.touched.append(f"{namespace}/{name}")

    def carry_out(self, args: ExtenderBindingArgs, annotations: dict[str, str]) -> None:
        """What the API server's transaction does."""
        pod = self.pods.get(f"{args.pod_namespace}/{args.pod_name}")
        if pod is None:
            raise ApiRefused(404, "not found")
        if pod["spec"].get("nodeName"):
            raise ApiRefused(409, f"pod is already assigned to node {pod['spec']['nodeName']}")
        pod["spec"]["nodeName"] = args.node
        pod["metadata"]["annotations"] |= annotations
        self.written.append((args.pod_name, args.node, annotations))

    def arrive(self) -> None:
        """Delayed bindings are carried out now, where they still can be."""
        late, self.late = self.late, []
        for args, annotations in late:
            try:
                self.carry_out(args, annotations)
            except ApiRefused:
                continue


class Quay:
    """An extender and its cluster, in one process."""

    def __init__(self, leadership: Leadership | None = None, best_k: int = 0, recording: RecordingSettings | None = None, **work_ms: float) -> None:
        self.clock = HandClock()
        self.toy = ToyPredictor({harbours.digest(name): work for name, work in work_ms.items()})
        self.calls = MemoryPodCalls()
        self.view = ClusterView(self.clock, 60.0)
        self.view.devices.put("test", {TOY_DEVICE.name: TOY_DEVICE})
        self.metrics = Metrics()
        settings = PredictorSettings(timeout_s=1.0, reuse_s=60.0, keep_s=600.0)
        self.predictions = Predictions(self.toy, self.view.devices.find, settings, self.clock, self.metrics)
        self.recorder = Recorder(recording, self.view.devices.find, self.metrics) if recording is not None else None
        self.judge = Judge(self.view, self.predictions, settings.reuse_s, self.clock, grounds=recording is not None)
        self.binder = Binder(self.view, self.judge, self.calls, leadership or AlwaysLeading(), metrics=self.metrics, recorder=self.recorder)
        leading = leadership or AlwaysLeading()
        self.wake_ups = WakeUps(self.view, self.judge, self.calls, leading, settings=WakeUpSettings(), clock=self.clock, metrics=self.metrics)
        heard = self.wake_ups.filtered
        self.verbs = Verbs(self.view, self.judge, self.binder, lambda: None, best_k=best_k, metrics=self.metrics, filtered=heard, recorder=self.recorder)

    def node(self, name: str, cores: int = 4, device: str = harbours.DEVICE) -> None:
        """A node appears."""
        self.view.put_node(nodes.inventory_of(decoding.from_plain(harbours.node_json(name, cores, device), NodeManifest)))

    def service(self, name: str, slo_ms: int = 50, rps: int = 1, *, analysed: bool = True) -> None:
        """A service appears."""
        manifest = decoding.from_plain(harbours.service_json(name, slo_ms, rps, analysed=analysed), InferenceServiceManifest)
        self.view.put_service(service_of(manifest))

    def pod(self, name: str, of: str | None, *, cpu: str = "1", seen: bool = True) -> PodManifest:
        """A pending pod appears, and the watch shows it."""
        plain = harbours.pod_json(name, of, cpu=cpu)
        self.calls.pods[f"vision/{name}"] = plain
        if seen:
            self.watch(name)
        return decoding.from_plain(plain, PodManifest)

    def watch(self, name: str) -> None:
        """The watch shows a pod as it is now."""
        self.view.put_pod(record_of(decoding.from_plain(self.calls.pods[f"vision/{name}"], PodManifest)))

    def args(self, name: str, *names: str) -> ExtenderArgs:
        """What the scheduler would send about a pod."""
        return ExtenderArgs(pod=decoding.from_plain(self.calls.pods[f"vision/{name}"], PodManifest), node_names=list(names))

    async def bind(self, name: str, node: str) -> None:
        """What the scheduler would ask."""
        await self.verbs.bind(ExtenderBindingArgs(pod_name=name, pod_namespace="vision", pod_uid=f"uid-{name}", node=node))

    def left(self, node: str) -> int:
        """Millicores the view says are left on a node."""
        self.view.settle()
        signature = self.view.numbering.signature(self.view.numbering.numbers[node])
        assert signature is not None
        return signature.cpu_left_millicores

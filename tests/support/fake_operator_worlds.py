"""A world for the reconciler: views and API in one, in memory. What is written is seen at once; it validates nothing and runs no controllers.

`crash_after` makes the so-many-th write take place and then fail, as if the process had died before it heard the answer.
"""

import base64
import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from stowplan_fleet import keys
from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason, unknown
from stowplan_fleet.devices import CoreThroughput, CpuDevice, Device
from stowplan_fleet.errors import GraphRefused, PredictorUnavailable
from stowplan_fleet.manifests.configmaps import ConfigMapManifest
from stowplan_fleet.manifests.decoding import from_plain
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Question
from stowplan_fleet.services import GraphDigest, ServiceName
from stowplan_fleet.slices import DeviceName
from stowplan_operator.errors import ApiFailed
from stowplan_operator.reconciling.views import Kind
from stowplan_operator.workloads import deployments
from stowplan_operator.workloads.deployments import DeploymentState

Object = dict[str, Any]
NAMESPACE = "vision"
DEVICE = "test-cpu"


class Crash(BaseException):
    """The process dies: nothing may catch it."""


class FakeWorld:
    """Implements the reconciler's `Views` and `Api`."""

    def __init__(self) -> None:
        self.objects: dict[ServiceName, Object] = {}
        self.node_list: list[NodeManifest] = []
        self.pod_list: list[PodManifest] = []
        self.stored: dict[ServiceName, Object] = {}
        self.configmaps: dict[str, Object] = {}
        self.events: list[Object] = []
        self.writes: list[str] = []
        self.crash_after: int | None = None
        self.refusing: ApiFailed | None = None
        """What is answered to every Deployment."""
        self.refusing_events: ApiFailed | None = None
        """What is answered to every event."""
        self.additions: Object = {}
        """What somebody else added to a Deployment's spec."""
        self.lagging: dict[ServiceName, Object] | None = None
        """Services as a slow watch shows them; None: the watch is up to date."""

    # Views

    def service(self, name: ServiceName) -> Mapping[str, Any] | None:
        """As stored, or as the slow watch shows it."""
        found = (self.objects if self.lagging is None else self.lagging).get(name)
        return copy.deepcopy(found)

    def services(self) -> Sequence[ServiceName]:
        """All of them."""
        return list(self.objects)

    def nodes(self) -> Sequence[NodeManifest]:
        """All of them."""
        return self.node_list

    @property
    def nodes_version(self) -> object:
        """Changes with the list."""
        return [(id(node), node.metadata.name) for node in self.node_list]

    def pods(self, name: ServiceName) -> Sequence[PodManifest]:
        """Of one service."""
        return [pod for pod in self.pod_list if f"{pod.metadata.namespace}/{pod.metadata.labels[keys.SERVICE_LABEL]}" == name]

    def deployment(self, name: ServiceName) -> DeploymentState | None:
        """Only labelled ones, as the watch."""
        found = self.stored.get(name)
        return deployments.state_of(found) if found and keys.SERVICE_LABEL in found["metadata"].get("labels", {}) else None

    def configmap_version(self, name: str) -> str | None:
        """Its resource version."""
        return str(self.configmaps[name]["metadata"]["resourceVersion"]) if name in self.configmaps else None

    def devices(self) -> tuple[dict[DeviceName, CpuDevice], list[str]]:
        """One made-up CPU."""
        throughputs = (CoreThroughput(1, 1e10, 1e10),)
        device = CpuDevice(DeviceName(DEVICE), "made up", (), 8, 1 << 15, 1 << 20, 1 << 25, throughputs, {}, fabricated=True)
        return {device.name: device}, []

    # Api

    async def get_configmap(self, namespace: str, name: str) -> ConfigMapManifest | None:
        """As stored."""
        found = self.configmaps.get(f"{namespace}/{name}")
        return None if found is None else from_plain(found, ConfigMapManifest)

    async def get_deployment(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """As stored."""
        return self.stored.get(ServiceName(f"{namespace}/{name}"))

    async def apply_deployment(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replaces the spec; a changed one gets another generation."""
        if self.refusing is not None:
            raise self.refusing
        name = ServiceName(f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}")
        before = self.stored.get(name)
        after = copy.deepcopy(dict(manifest))
        if before is not None and self.additions:
            # As the API server does: what others added is kept, and theirs.
            _added(after["spec"], self.additions)
            after["metadata"]["managedFields"] = [{"manager": "somebody", "fieldsV1": {"f:spec": {}}}]
        generation = before["metadata"]["generation"] if before else 0
        after["metadata"]["uid"] = before["metadata"]["uid"] if before else f"deployment-of-{name}"
        after["metadata"]["generation"] = generation + (0 if before and before["spec"] == after["spec"] else 1)
        self.stored[name] = after
        self._wrote("deployment")
        return copy.deepcopy(after)

    async def replace_deployment_spec(self, manifest: Mapping[str, Any], uid: str) -> Mapping[str, Any]:
        """Takes everything else away."""
        name = ServiceName(f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}")
        assert self.stored[name]["metadata"]["uid"] == uid
        self.additions.clear()
        self.stored[name]["spec"] = copy.deepcopy(dict(manifest["spec"]))
        self.stored[name]["metadata"]["generation"] += 1
        self.stored[name]["metadata"].pop("managedFields", None)
        self._wrote("replacement")
        return copy.deepcopy(self.stored[name])

    async def patch_status(self, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """RFC 7396."""
        body = self.objects[ServiceName(f"{namespace}/{name}")]
        body["status"] = _merged(body.get("status") or {}, patch)
        self._wrote("status")

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Kept in order."""
        assert event["metadata"]["namespace"] == namespace
        if self.refusing_events is not None:
            raise self.refusing_events
        self.events.append(dict(event))
        self._wrote("event")

    async def list_uids(self, kind: Kind) -> frozenset[str]:
        """Of services only."""
        return frozenset(str(item["metadata"]["uid"]) for item in self.objects.values()) if kind is Kind.SERVICES else frozenset()

    # What a test does

    def put_service(self, name: str = "net", **spec: Any) -> ServiceName:
        """An InferenceService as the API server would store it, defaults and all."""
        full = ServiceName(f"{NAMESPACE}/{name}")
        known = self.objects.get(full)
        generation = known["metadata"]["generation"] + 1 if known else 1
        self.objects[full] = {
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}", "generation": generation},
            "spec": {
                "model": {"uri": "configmap://net-graph/model.onnx", "runtime": "onnxruntime-cpu"},
                "slo": {"latencyMilliseconds": 50, "percentile": 95},
                "load": {"requestsPerSecond": 10},
                "replicas": {"min": 1, "max": 4},
                "template": {"spec": {"containers": [{"name": "server", "image": "localhost/server:1", "resources": {"limits": {"memory": "1Gi"}}}]}},
                **spec,
            },
            **({"status": known["status"]} if known and "status" in known else {}),
        }
        return full

    def put_model(self, content: bytes = b"work=20", name: str = "net-graph", version: str = "1") -> None:
        """A ConfigMap with a model file."""
        binary = {"model.onnx": base64.b64encode(content).decode()}
        self.configmaps[f"{NAMESPACE}/{name}"] = {"metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": version}, "binaryData": binary}

    def put_node(self, name: str = "n1", cpu: str = "4", device: str = DEVICE, labels: Mapping[str, str] | None = None, **spec: Any) -> None:
        """A ready node."""
        labels = ({keys.DEVICE_LABEL: device} if device else {}) | dict(labels or {})
        status = {"allocatable": {"cpu": cpu, "memory": "8Gi"}, "conditions": [{"type": "Ready", "status": "True"}]}
        self.node_list.append(from_plain({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}, NodeManifest))

    def put_pods(self, name: ServiceName, count: int, *, ready: bool = True, unschedulable_since: str = "") -> None:
        """Replaces a service's pods by new ones of its Deployment's present template."""
        template = self.stored[name]["spec"]["template"]
        waiting = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes", "lastTransitionTime": unschedulable_since}
        conditions = [waiting] if unschedulable_since else [{"type": "Ready", "status": "True" if ready else "False"}]
        self.pod_list = [
            from_plain(
                {
                    "metadata": {"name": f"p{index}", "namespace": NAMESPACE, "uid": f"uid-p{index}", **template["metadata"]},
                    "spec": {} if unschedulable_since else {"nodeName": "n1"},
                    "status": {"conditions": conditions},
                },
                PodManifest,
            )
            for index in range(count)
        ]

    def condition(self, name: ServiceName, kind: str) -> Object:
        """A condition as stored."""
        found: list[Object] = self.objects[name]["status"]["conditions"]
        return next(item for item in found if item["type"] == kind)

    def _wrote(self, kind: str) -> None:
        self.writes.append(kind)
        if self.crash_after is not None and len(self.writes) >= self.crash_after:
            self.crash_after = None
            raise Crash(kind)


class FilePredictor:
    """Implements `Predictor`: the model file itself says how many milliseconds of work it is on one core (`work=20`).

    On c cores the response takes work / c, the interval ends at 1.25 times that; a load of 1000 / (work / c) requests per second overloads it.
    """

    def __init__(self) -> None:
        self.work: dict[GraphDigest, float] = {}
        self.up = True
        self.another_forgot = False
        self.analyses = 0

    async def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Reads the file."""
        del input_shapes
        if not self.up:
            raise PredictorUnavailable("switched off")
        self.analyses += 1
        self.another_forgot = False
        head, _, text = onnx_model.partition(b"=")
        if head != b"work":
            raise GraphRefused("not a model file: it does not begin with work=")
        digest = f"sha256:{hashlib.sha256(onnx_model).hexdigest()}"
        self.work[GraphDigest(digest)] = float(text)
        return GraphSummary(GraphDigest(digest), digest, 3, 2, 1000, 10, 40)

    async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
        """By the law above."""
        del runtime
        if not self.up:
            raise PredictorUnavailable("switched off")
        return [self._answer(question, devices) for question in questions]

    async def anywhere_forgotten(self, question: Question, devices: Mapping[DeviceName, Device], runtime: str) -> bool:
        """As a test says: another one that was started anew."""
        del devices, runtime
        return self.another_forgot and question.subject.graph_digest in self.work

    def _answer(self, question: Question, devices: Mapping[DeviceName, Device]) -> Answer:
        subject = question.subject
        if subject.graph_digest not in self.work:
            return unknown(UnknownReason.GRAPH_NOT_FOUND, "forgotten")
        if subject.slice_class.device not in devices:
            return unknown(UnknownReason.DEVICE_NOT_DESCRIBED, f"no descriptor of {subject.slice_class.device}")
        took_ms = self.work[subject.graph_digest] / (subject.slice_class.slice.cpu_millicores / 1000)
        busy = subject.requests_per_second * took_ms / 1000
        interval = LatencyInterval(took_ms, took_ms, 1.25 * took_ms, 0.9)
        return Answer(Basis.MEASURED, isolated=interval, colocated=interval, response=interval if busy < 1 else None, utilization=busy)


def _added(spec: Object, additions: Mapping[str, Any]) -> None:
    spec["template"]["spec"] |= copy.deepcopy(dict(additions))


def _merged(before: Mapping[str, Any], patch: Mapping[str, Any]) -> Object:
    result = dict(before)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            old = result.get(key)
            result[key] = _merged(old if isinstance(old, Mapping) else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result

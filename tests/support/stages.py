"""A stage for one end-to-end test: a namespace of its own on the running system, and the words to describe a scene with."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from controlplane_clusters import Cluster
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet import keys, slices
from stowplan_fleet.answers import Answer
from stowplan_fleet.codecs.answers import answers_from_message
from stowplan_fleet.codecs.questions import request_to_message
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.questions import Occupant, Question, Tenant, canonical_tenants
from stowplan_fleet.services import GraphDigest
from support.components import Extender
from support.controlplane import apply, await_nodes, condition_of, events_of, wait_until
from support.wiretaps import Wiretap

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MODELS = EXAMPLES / "models"
RUNTIME = "onnxruntime-cpu"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a test plays."""

    cluster: Cluster
    namespace: str
    wiretap: Wiretap
    extender: Extender
    predictor_port: int
    devices: Mapping[str, CpuDevice]
    nodes: list[str] = field(default_factory=list)
    """Names of the nodes the test added; they go after the audit that follows it."""

    def add_nodes(self, *nodes: Mapping[str, Any]) -> None:
        """Adds nodes and waits until they are ready."""
        names = [str(item["metadata"]["name"]) for item in nodes]
        self.nodes.extend(names)
        apply(self.cluster, *nodes)
        await_nodes(self.cluster, names)

    def apply(self, *objects: str | Mapping[str, Any]) -> None:
        """Applies objects to the stage's namespace."""
        apply(self.cluster, *objects, namespace=self.namespace)

    def upload(self, model: str, name: str | None = None, content: bytes | None = None) -> None:
        """Puts a model of examples/models (or some bytes) into a ConfigMap `<name>-graph`, key `model.onnx`."""
        data = (MODELS / f"{model}.onnx").read_bytes() if content is None else content
        binary = {"model.onnx": base64.b64encode(data).decode()}
        # No client-side apply: its annotation would hold the model once more, and annotations end at 256 kB.
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name or model}-graph"}, "binaryData": binary}
        self.cluster.kubectl("create", "-n", self.namespace, "-f", "-", stdin=json.dumps(config_map))

    def service(self, name: str) -> dict[str, Any]:
        """An InferenceService as it is now."""
        found: dict[str, Any] = self.cluster.get(f"inferenceservices.stowplan.dev/{name}", "-n", self.namespace)
        return found

    def await_condition(self, name: str, kind: str, status: str, timeout_s: float = 0) -> Mapping[str, Any]:
        """Waits until a condition of an InferenceService has that status; answers the condition."""

        def holds() -> Mapping[str, Any] | None:
            condition = condition_of(self.service(name), kind)
            return condition if condition is not None and condition["status"] == status else None

        return wait_until(holds, timeout_s, lambda: f"{kind}={status} of {name}; its status: {json.dumps(self.service(name).get('status'))}")

    def pods(self, service: str | None = None) -> Sequence[dict[str, Any]]:
        """The pods of the stage, or those of a service."""
        selector = ["-l", f"{keys.SERVICE_LABEL}={service}"] if service else []
        found: Sequence[dict[str, Any]] = self.cluster.get("pods", "-n", self.namespace, *selector)["items"]
        return found

    def await_bound(self, service: str, count: int = 1, timeout_s: float = 0) -> Sequence[dict[str, Any]]:
        """Waits until that many pods of a service are bound; answers them."""

        def bound() -> Sequence[dict[str, Any]] | None:
            pods = [pod for pod in self.pods(service) if pod["spec"].get("nodeName")]
            return pods if len(pods) == count else None

        return wait_until(bound, timeout_s, lambda: f"{count} bound pods of {service}; {self.tell(service)}")

    def await_refusal(self, service: str, said: str, timeout_s: float = 0) -> str:
        """Waits until an event about a pod of the service (none of them bound) holds that text; answers the whole message."""

        def refused() -> str | None:
            messages = [event.get("message", "") for pod in self.pods(service) for event in events_of(self.cluster, self.namespace, pod["metadata"]["name"])]
            return next((message for message in reversed(messages) if said in message), None)

        return wait_until(refused, timeout_s, lambda: f"an event that says {said!r} about a pod of {service}; {self.tell(service)}")

    def await_quiet(self, service: str, quiet_s: float = 4.0) -> None:
        """Waits until the scheduler has asked nothing about a service's pods for so long: they are not in its back-off, and only what it watches wakes them."""
        last = [(0, time.monotonic())]

        def quiet() -> bool:
            calls = len([call for call in self.wiretap.about(self.namespace) if call.pod.startswith(f"{self.namespace}/{service}")])
            if calls != last[-1][0]:
                last.append((calls, time.monotonic()))
            return time.monotonic() - last[-1][1] > quiet_s

        wait_until(quiet, 0, lambda: f"the scheduler leaves {service} alone; {self.tell(service)}")

    def tell(self, service: str) -> str:
        """What there is to see of a service, for the message of a failed wait."""
        pods = [(pod["metadata"]["name"], pod["spec"].get("nodeName"), pod["metadata"].get("annotations")) for pod in self.pods(service)]
        events = self.cluster.kubectl("get", "events", "-n", self.namespace, "-o", "custom-columns=ABOUT:.involvedObject.name,MESSAGE:.message")
        items = self.cluster.get("inferenceservices.stowplan.dev", "-n", self.namespace)["items"]
        statuses = {item["metadata"]["name"]: item.get("status") for item in items}
        return f"pods: {pods}\nstatuses: {json.dumps(statuses)}\nevents:\n{events}"

    def ask(self, model: str, slice_class: str, requests_per_second: float, tenants: Sequence[Tenant] = ()) -> Answer:
        """What the running predictor says, so that a test can place its objectives around predictions instead of guessing them."""
        with grpc.insecure_channel(f"127.0.0.1:{self.predictor_port}") as channel:
            stub = predictor_pb2_grpc.PredictorServiceStub(channel)
            subject = self.occupant(model, slice_class, requests_per_second)
            question = Question(subject, canonical_tenants(list(tenants)))
            devices = {device.name: device for device in self.devices.values()}
            response = stub.Predict(request_to_message([question], devices, RUNTIME), timeout=120)
            return answers_from_message(response)[0]

    def occupant(self, model: str, slice_class: str, requests_per_second: float) -> Occupant:
        """A server process of a model on a slice, as questions name it."""
        with grpc.insecure_channel(f"127.0.0.1:{self.predictor_port}") as channel:
            stub = predictor_pb2_grpc.PredictorServiceStub(channel)
            found = stub.AnalyzeGraph(pb.AnalyzeGraphRequest(onnx_model=(MODELS / f"{model}.onnx").read_bytes()), timeout=120)
        return Occupant(GraphDigest(found.graph_digest), slices.parse_slice_class(slice_class), requests_per_second)


def inference_service(name: str, model: str, slo_ms: int, requests_per_second: int = 1, **more: Any) -> dict[str, Any]:
    """An InferenceService; `slice_classes`, `replicas`, `node_selector` and `graph` (a ConfigMap's name) narrow it down."""
    pod: dict[str, Any] = {"containers": [{"name": "server", "image": "example.com/server"}]}
    if "node_selector" in more:
        pod["nodeSelector"] = more["node_selector"]
    return {
        "apiVersion": f"{keys.GROUP}/{keys.VERSION}",
        "kind": keys.KIND,
        "metadata": {"name": name},
        "spec": {
            "model": {"uri": f"configmap://{more.get('graph', model)}-graph/model.onnx"},
            "slo": {"latencyMilliseconds": slo_ms},
            "load": {"requestsPerSecond": requests_per_second},
            "replicas": {"min": 1, "max": 1} | more.get("replicas", {}),
            "placement": {"sliceClasses": list(more.get("slice_classes", ()))},
            "template": {"spec": pod},
        },
    }

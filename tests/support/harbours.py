"""Small clusters in values, for tests of placement: services, nodes, pods; and the same as the API server would write them."""

from typing import Any

from stowplan_extender.decision.occupancies import Lodger, Newcomer, NodeState, PodUid, Requests, Tenancy
from stowplan_fleet import keys
from stowplan_fleet.answers import Basis
from stowplan_fleet.nodes import NodeInventory, NodeName
from stowplan_fleet.services import GraphDigest, Load, OnUnknown, PlacementPolicy, Service, ServiceName, Sharing, Slo
from stowplan_fleet.slices import DeviceName, SliceClass, cpu_slice

DEVICE = DeviceName("toy-cpu")
GIB = 1 << 30


def digest(name: str) -> GraphDigest:
    """A graph digest that tests can tell apart."""
    return GraphDigest("sha256:" + name.encode().hex().ljust(64, "0")[:64])


def service(
    name: str,
    slo_ms: float = 50.0,
    rps: float = 1.0,
    *,
    sharing: Sharing = Sharing.ALLOW,
    on_unknown: OnUnknown = OnUnknown.REJECT,
    analysed: bool = True,
    slice_classes: tuple[SliceClass, ...] = (),
    minimum_basis: Basis = Basis.UNVALIDATED,
) -> Service:
    """A service of one replica, in namespace `vision`; its graph is named like it."""
    return Service(
        ServiceName(f"vision/{name}"),
        "onnxruntime-cpu",
        Slo(slo_ms),
        Load(rps),
        graph_digest=digest(name) if analysed else None,
        placement=PlacementPolicy(on_unknown, sharing, slice_classes, minimum_basis),
    )


def cpu_class(millicores: int = 1000, device: str = DEVICE) -> SliceClass:
    """A CPU slice class."""
    return SliceClass(DeviceName(device), cpu_slice(millicores))


def newcomer(of: Service, uid: str = "new", millicores: int = 1000, memory_bytes: int = 0, device: str = DEVICE) -> Newcomer:
    """A pod of a service that asks for a CPU slice."""
    return Newcomer(PodUid(uid), Requests(millicores, memory_bytes), Tenancy(of, cpu_class(millicores, device)))


def lodger(of: Service, uid: str, millicores: int = 1000) -> Lodger:
    """A pod of a service that stands on a node."""
    return newcomer(of, uid, millicores).lodger


def stranger(uid: str, millicores: int) -> Lodger:
    """Somebody else's pod."""
    return Lodger(PodUid(uid), Requests(millicores))


def node(name: str, *lodgers: Lodger, cores: int = 4, device: str | None = DEVICE) -> NodeState:
    """A node of a device with everyone on it."""
    return NodeState(NodeInventory(NodeName(name), cores * 1000, 64 * GIB, DeviceName(device) if device else None), lodgers)


def node_json(name: str, cores: int = 4, device: str = DEVICE) -> dict[str, Any]:
    """A node as the API server writes it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": f"node-{name}", "labels": {keys.DEVICE_LABEL: device}},
        "status": {"allocatable": {"cpu": str(cores), "memory": "64Gi", "pods": "110"}},
    }


def pod_json(name: str, of: str | None, *, cpu: str = "1", node_name: str = "", slice_class: str = "") -> dict[str, Any]:
    """A pod as the API server writes it: of a service, or (None) somebody else's."""
    metadata: dict[str, Any] = {"name": name, "namespace": "vision", "uid": f"uid-{name}", "labels": {}, "annotations": {}}
    requests = {"cpu": cpu}
    if of is not None:
        metadata["labels"][keys.SERVICE_LABEL] = of
        metadata["annotations"][keys.SLICE_CLASS_ANNOTATION] = slice_class or f"{DEVICE}/cpu:{cpu}"
        requests[keys.MARKER_RESOURCE] = keys.MARKER_AMOUNT
    spec: dict[str, Any] = {
        "schedulerName": keys.SCHEDULER_NAME if of is not None else "default-scheduler",
        "containers": [{"name": "server", "image": "example/server", "resources": {"requests": requests, "limits": requests}}],
    }
    if node_name:
        spec["nodeName"] = node_name
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running" if node_name else "Pending"}}


def service_json(name: str, slo_ms: int = 50, rps: int = 1, *, analysed: bool = True) -> dict[str, Any]:
    """An InferenceService as the API server writes it; its graph is named like it."""
    return {
        "apiVersion": f"{keys.GROUP}/{keys.VERSION}",
        "kind": keys.KIND,
        "metadata": {"name": name, "namespace": "vision", "uid": f"isvc-{name}"},
        "spec": {
            "model": {"uri": f"configmap://{name}/model.onnx", "runtime": "onnxruntime-cpu"},
            "slo": {"latencyMilliseconds": slo_ms, "percentile": 95},
            "load": {"requestsPerSecond": rps},
        },
        "status": {"model": {"digest": digest("file"), "graphDigest": digest(name)}} if analysed else {},
    }

"""Objects of a made-up cluster as kubectl prints them: nodes, pods and services of one small model on made-up devices."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import DeviceName
from support.synthetic_bundles import DEVICE, chain_model

# On one core of the made-up devices some 15 ms and 30 ms.
MODEL = chain_model(channels=64, side=56)
DIGEST = f"sha256:{hashlib.sha256(MODEL).hexdigest()}"
QUICK = replace(DEVICE, name=DeviceName("quick"))
SLOW = replace(
    DEVICE,
    name=DeviceName("slow"),
    throughputs=tuple(CoreThroughput(item.cores, item.flops_per_second / 2, item.bandwidth_bytes_per_second / 2) for item in DEVICE.throughputs),
)

Object = dict[str, Any]


def node(name: str, device: str | None = "quick", cpu: str = "4", ready: str = "True", **spec: Any) -> Object:
    """A node as kubectl prints it."""
    labels = {keys.DEVICE_LABEL: device} if device else {}
    status = {"allocatable": {"cpu": cpu, "memory": "8Gi"}, "conditions": [{"type": "Ready", "status": ready}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}


def pod(name: str, where: str, cpu: str = "1", *, service: str = "", slice_class: str = "quick/cpu:1", phase: str = "Running") -> Object:
    """A pod on a node; one of ours where it names a service."""
    labels = {keys.SERVICE_LABEL: service} if service else {}
    annotations = {keys.BOUND_SLICE_ANNOTATION: slice_class} if service else {}
    metadata = {"name": name, "namespace": "vision", "uid": name, "labels": labels, "annotations": annotations}
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu} | ({keys.MARKER_RESOURCE: keys.MARKER_AMOUNT} if service else {})}}]
    spec = {"nodeName": where, "schedulerName": keys.SCHEDULER_NAME if service else "default-scheduler", "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}


def service(name: str, slo_ms: int, rate: int = 1, **spec: Any) -> Object:
    """An InferenceService of the model of these tests."""
    full = {
        "model": {"uri": "configmap://graph/model.onnx", "digest": DIGEST},
        "slo": {"latencyMilliseconds": slo_ms},
        "load": {"requestsPerSecond": rate},
        "template": {"spec": {"containers": [{"name": "server", "image": "example.com/it"}]}},
    } | spec
    return {"apiVersion": f"{keys.GROUP}/{keys.VERSION}", "kind": keys.KIND, "metadata": {"name": name, "namespace": "vision"}, "spec": full}


def on_one_core(device: str = "quick") -> dict[str, Any]:
    """A placement on single cores only, so that a test knows the rung."""
    return {"placement": {"sliceClasses": [f"{device}/cpu:1"]}}


def described(namespace: str = "stowplan-system", devices: Sequence[CpuDevice] = (QUICK, SLOW)) -> Object:
    """The ConfigMap that describes made-up devices."""
    data = {f"{device.name}.json": descriptors.write_device(device).decode() for device in devices}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "devices", "namespace": namespace, "labels": {keys.DESCRIPTORS_LABEL: "true"}},
        "data": data,
    }


def graph(namespace: str = "vision") -> Object:
    """The ConfigMap that holds the model of these services."""
    held = {"model.onnx": base64.b64encode(MODEL).decode()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "graph", "namespace": namespace}, "binaryData": held}


def listed(items: Sequence[Object]) -> str:
    """A list of objects as JSON, which is YAML."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})

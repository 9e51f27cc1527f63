"""What must hold in a cluster after every test, read from the API server alone, whatever the components believe.

An audit is a pure function of what `kubectl get` printed, so that it can be shown to notice what it is there to notice.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controlplane_clusters import Cluster
from stowplan_fleet import keys

Raw = Mapping[str, Any]

_WRITTEN_BY_THE_BINDING = (
    keys.BOUND_SLICE_ANNOTATION,
    keys.PREDICTED_MS_ANNOTATION,
    keys.BASIS_ANNOTATION,
    keys.BUNDLE_ANNOTATION,
    keys.PREDICTION_ID_ANNOTATION,
)
# Suffixes of Kubernetes quantities (apimachinery, pkg/api/resource), read here on our own: an audit must not trust what it audits.
_SUFFIXES = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def audit(cluster: Cluster) -> list[str]:
    """Every broken invariant of the cluster, in words; none is good."""
    nodes, pods = cluster.get("nodes")["items"], cluster.get("pods", "-A")["items"]
    services = cluster.get("inferenceservices.stowplan.dev", "-A")["items"]
    return violations(nodes, pods, services)


def violations(nodes: Sequence[Raw], pods: Sequence[Raw], services: Sequence[Raw]) -> list[str]:
    """Every broken invariant, in words."""
    alive = [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
    bound = [pod for pod in alive if pod["spec"].get("nodeName")]
    return [*_over_promised(nodes, bound), *_badly_bound(nodes, bound, services), *_written_on_strangers(alive), *_unwell_services(services)]


def _over_promised(nodes: Sequence[Raw], bound: Sequence[Raw]) -> Iterator[str]:
    """No node has promised more of any resource than it has: cores, memory, or slices of a GPU."""
    for node in nodes:
        taken: dict[str, float] = defaultdict(float)
        here = [pod for pod in bound if pod["spec"]["nodeName"] == _name(node)]
        for pod in here:
            for resource, amount in requests_of(pod).items():
                taken[resource] += amount
        for resource, amount in taken.items():
            there = quantity(node["status"].get("allocatable", {}).get(resource, "0"))
            if resource != keys.MARKER_RESOURCE and amount > there + 1e-9:
                yield f"node {_name(node)} promised {amount:g} {resource} and has {there:g}: {sorted(map(_full_name, here))}"


def _badly_bound(nodes: Sequence[Raw], bound: Sequence[Raw], services: Sequence[Raw]) -> Iterator[str]:
    """Every bound pod of ours carries its slice and a prediction that keeps its objective, on a node of that slice's device."""
    devices = {_name(node): node["metadata"].get("labels", {}).get(keys.DEVICE_LABEL) for node in nodes}
    by_name = {_full_name(service): service for service in services}
    for pod in filter(is_ours, bound):
        notes = pod["metadata"].get("annotations", {})
        missing = [key for key in _WRITTEN_BY_THE_BINDING if key not in notes]
        wanted, got = notes.get(keys.SLICE_CLASS_ANNOTATION), notes.get(keys.BOUND_SLICE_ANNOTATION)
        if keys.BOUND_SLICE_ANNOTATION in missing or (missing and notes.get(keys.BASIS_ANNOTATION) != "unknown"):
            yield f"pod {_full_name(pod)} is bound without {missing}"
            continue
        if got != wanted:
            yield f"pod {_full_name(pod)} was to have slice {wanted} and has {got}"
        device, _, kind = str(got).partition("/")
        if kind.startswith("cpu:") and devices.get(pod["spec"]["nodeName"]) != device:
            yield f"pod {_full_name(pod)} has slice {got} on node {pod['spec']['nodeName']}, whose device is {devices.get(pod['spec']['nodeName'])}"
        service = by_name.get(f"{pod['metadata']['namespace']}/{pod['metadata'].get('labels', {}).get(keys.SERVICE_LABEL)}")
        if notes.get(keys.BASIS_ANNOTATION) != "unknown":
            predicted = float(notes[keys.PREDICTED_MS_ANNOTATION])
            slo = float(service["spec"]["slo"]["latencyMilliseconds"]) if service else math.inf
            if not 0 < predicted <= slo:
                yield f"pod {_full_name(pod)} was bound with a prediction of {predicted} ms against an objective of {slo:g} ms"


def _written_on_strangers(pods: Sequence[Raw]) -> Iterator[str]:
    """Nothing of ours is on a pod without the marker, or on one that is not bound."""
    for pod in pods:
        found = [key for key in _WRITTEN_BY_THE_BINDING if key in pod["metadata"].get("annotations", {})]
        if found and not (is_ours(pod) and pod["spec"].get("nodeName")):
            yield f"pod {_full_name(pod)} carries {found} though it is {'not bound' if is_ours(pod) else 'not ours'}"


def _unwell_services(services: Sequence[Raw]) -> Iterator[str]:
    """Conditions are one a type, observe no generation that never was, and say True, False or Unknown with a reason."""
    for service in services:
        conditions = service.get("status", {}).get("conditions", [])
        types = [condition["type"] for condition in conditions]
        if len(types) != len(set(types)):
            yield f"service {_full_name(service)} has a condition twice: {types}"
        for condition in conditions:
            known = condition.get("observedGeneration", 0) <= service["metadata"]["generation"]
            if not known or condition["status"] not in ("True", "False", "Unknown") or not condition.get("reason"):
                yield f"service {_full_name(service)} has the condition {condition}"


def is_ours(pod: Raw) -> bool:
    """True where a container asks for the marker resource."""
    return keys.MARKER_RESOURCE in requests_of(pod)


def requests_of(pod: Raw) -> dict[str, float]:
    """What the pod's containers request, all together."""
    total: dict[str, float] = defaultdict(float)
    for container in pod["spec"]["containers"]:
        resources = container.get("resources", {})
        for resource, text in {**resources.get("limits", {}), **resources.get("requests", {})}.items():
            total[resource] += quantity(text)
    return total


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number."""
    suffix = str(text).lstrip("0123456789.")
    return float(str(text).removesuffix(suffix)) * _SUFFIXES[suffix] if suffix else float(text)


def _name(item: Raw) -> str:
    return str(item["metadata"]["name"])


def _full_name(item: Raw) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"

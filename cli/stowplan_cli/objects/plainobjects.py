"""Plain objects: nodes, pods and services as the API server shows them, read once more for audits, on purpose: who audits must not trust what it audits."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from stowplan_fleet import keys

Raw = Mapping[str, Any]

# Suffixes of Kubernetes quantities (apimachinery, pkg/api/resource).
_SUFFIXES: Final = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


def is_ours(pod: Raw) -> bool:
    """True where a container asks for the marker resource and our scheduler shall place it."""
    marked = any(keys.MARKER_RESOURCE in _amounts(container.get("resources")) for container in pod["spec"]["containers"])
    return marked and pod["spec"].get("schedulerName") == keys.SCHEDULER_NAME


def requests_of(pod: Raw) -> dict[str, float]:
    """What the scheduler sets aside for a pod: its containers and sidecars together, or the init container that takes more; and its overhead."""
    spec = pod["spec"]
    sidecars: dict[str, float] = defaultdict(float)
    most: dict[str, float] = defaultdict(float)
    for container in spec.get("initContainers") or []:
        asked = _amounts(container.get("resources"))
        for resource, amount in asked.items():
            most[resource] = max(most[resource], sidecars[resource] + amount)
        if container.get("restartPolicy") == "Always":
            for resource, amount in asked.items():
                sidecars[resource] += amount
    running = sidecars
    for container in spec["containers"]:
        for resource, amount in _amounts(container.get("resources")).items():
            running[resource] += amount
    total = {resource: max(running[resource], most[resource]) for resource in {*running, *most}} | _amounts(spec.get("resources"))
    for resource, text in (spec.get("overhead") or {}).items():
        total[resource] = total.get(resource, 0.0) + quantity(text)
    return total


def _amounts(resources: Raw | None) -> dict[str, float]:
    """Requests of a container; one that is absent equals the limit."""
    found = resources or {}
    return {resource: quantity(text) for resource, text in {**(found.get("limits") or {}), **(found.get("requests") or {})}.items()}


def quantity(text: object) -> float:
    """A Kubernetes quantity as a number; exponents too (`1e3`)."""
    written = str(text)
    try:
        return float(written)
    except ValueError:
        suffix = written.lstrip("+-0123456789.")
        return float(written.removesuffix(suffix)) * _SUFFIXES[suffix]


def bound_at(pod: Raw) -> dt.datetime | None:
    """When a pod was bound: the API server writes the condition in the transaction that sets its node, to the second."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "True":
            return _time(condition.get("lastTransitionTime"))
    return None


def changed_at(item: Raw) -> dt.datetime | None:
    """When anything but its status was last written, as far as the API server kept that."""
    written = [_time(entry.get("time")) for entry in item["metadata"].get("managedFields") or [] if not entry.get("subresource")]
    return max(filter(None, written), default=_time(item["metadata"].get("creationTimestamp")))


def changed_since(item: Raw, moment: dt.datetime | None) -> bool:
    """True where the object was changed after that moment."""
    changed = changed_at(item)
    return changed is not None and moment is not None and changed > moment


def _time(text: object) -> dt.datetime | None:
    return dt.datetime.fromisoformat(str(text)) if text else None


def annotations_of(item: Raw) -> Mapping[str, str]:
    """The annotations; none where there are none."""
    return item["metadata"].get("annotations") or {}


def service_name_of(pod: Raw) -> str:
    """`namespace/name` of the service that a pod of ours serves."""
    return f"{pod['metadata']['namespace']}/{(pod['metadata'].get('labels') or {}).get(keys.SERVICE_LABEL, '')}"


def full_name(item: Raw) -> str:
    """`namespace/name`."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def name_of(item: Raw) -> str:
    """The name alone."""
    return str(item["metadata"]["name"])

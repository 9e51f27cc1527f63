"""Audits: do the promises hold in a cluster, as its API server shows it, whatever our components believe?

Pure functions of plain objects. Quantities and requests are read here once more, on purpose: an audit must not trust what it audits. What each
invariant says, and what it does not, stands in docs/invariants.md.
"""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from stowplan_fleet import keys

Raw = Mapping[str, Any]


class Invariant(StrEnum):
    """What is promised."""

    NO_SLICE_OVER_PROMISED = "NoSliceOverPromised"
    """No node holds pods that request more of anything than it has, where one of ours is among them."""
    BOUND_AS_DECIDED = "BoundAsDecided"
    """A bound pod of ours carries its slice and prediction, written with its node, on a node that has that slice."""
    NEWCOMER_WITHIN_OBJECTIVE = "NewcomerWithinObjective"
    """What was predicted for a pod when it was bound kept its objective."""
    NO_RESIDENT_OVER_OBJECTIVE = "NoResidentOverObjective"
    """By our own prediction nobody who stands where we put them, or beside whom we put somebody, is over their objective."""
    STRANGERS_UNTOUCHED = "StrangersUntouched"
    """Nothing of ours stands on a pod that did not ask for us, nor on one that is not bound."""
    CONDITIONS_SOUND = "ConditionsSound"
    """A service has each condition once, with a reason, and of no generation that never was."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as promised."""

    invariant: Invariant
    where: str
    text: str
    broken: bool = True
    """False where the cluster was changed after we decided: worth knowing, and nobody's broken promise."""

    def __str__(self) -> str:
        return f"{self.invariant}: {self.where}: {self.text}"


WRITTEN: Final = (keys.BOUND_SLICE_ANNOTATION, keys.PREDICTED_MS_ANNOTATION, keys.BASIS_ANNOTATION, keys.BUNDLE_ANNOTATION, keys.PREDICTION_ID_ANNOTATION)
"""What a Binding writes on a pod."""

_NO_JUDGEMENT: Final = "unknown"
# What else a prediction may rest on, the surest first; a service that does not say takes the last too.
_BASES: Final = ("measured", "extrapolated", "unvalidated")
# Suffixes of Kubernetes quantities (apimachinery, pkg/api/resource).
_SUFFIXES: Final = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


def structural(nodes: Sequence[Raw], pods: Sequence[Raw], services: Sequence[Raw]) -> list[Finding]:
    """Every finding that needs no prediction."""
    alive = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    bound = [pod for pod in alive if pod["spec"].get("nodeName")]
    return [*_over_promised(nodes, bound), *_badly_bound(nodes, bound, services), *_written_on_strangers(alive), *_unsound_conditions(services)]


def _over_promised(nodes: Sequence[Raw], bound: Sequence[Raw]) -> Iterator[Finding]:
    on_node: dict[str, list[Raw]] = defaultdict(list)
    for pod in bound:
        on_node[pod["spec"]["nodeName"]].append(pod)
    for node in nodes:
        here = on_node[_name(node)]
        if not any(map(is_ours, here)):
            continue
        taken: dict[str, float] = defaultdict(float)
        for pod in here:
            for resource, amount in requests_of(pod).items():
                taken[resource] += amount
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        for resource, amount in sorted(taken.items()):
            there = quantity(allocatable.get(resource, "0"))
            if resource != keys.MARKER_RESOURCE and amount > there * (1 + 1e-12) + 1e-9:
                said = f"promised {amount:g} {resource} and has {there:g}: {', '.join(sorted(map(full_name, here)))}"
                newest = max(filter(None, map(bound_at, filter(is_ours, here))), default=None)
                yield Finding(Invariant.NO_SLICE_OVER_PROMISED, f"node {_name(node)}", said, broken=not _since(node, newest))


def _badly_bound(nodes: Sequence[Raw], bound: Sequence[Raw], services: Sequence[Raw]) -> Iterator[Finding]:
    by_node = {_name(node): node for node in nodes}
    by_name = {full_name(service): service for service in services}
    for pod in filter(is_ours, bound):
        where, notes = f"pod {full_name(pod)}", annotations_of(pod)
        missing = [key for key in WRITTEN if key not in notes]
        # Where nobody could judge and the service tolerates that, there is a slice and a basis, and no number.
        if keys.BOUND_SLICE_ANNOTATION in missing or keys.BASIS_ANNOTATION in missing or (missing and notes[keys.BASIS_ANNOTATION] != _NO_JUDGEMENT):
            yield Finding(Invariant.BOUND_AS_DECIDED, where, f"is bound without {', '.join(missing)}")
            continue
        wanted, got = notes.get(keys.SLICE_CLASS_ANNOTATION), notes[keys.BOUND_SLICE_ANNOTATION]
        if got != wanted:
            yield Finding(Invariant.BOUND_AS_DECIDED, where, f"was to have slice {wanted} and has {got}")
        node = by_node.get(pod["spec"]["nodeName"])
        device, _, kind = got.partition("/")
        there = (node["metadata"].get("labels") or {}).get(keys.DEVICE_LABEL) if node is not None else None
        if node is not None and kind.startswith("cpu:") and there != device:
            said = f"has slice {got} on node {_name(node)}, whose device is {there or 'not named'}"
            yield Finding(Invariant.BOUND_AS_DECIDED, where, said, broken=not _since(node, bound_at(pod)))
        if notes[keys.BASIS_ANNOTATION] != _NO_JUDGEMENT:
            service = by_name.get(service_name_of(pod))
            yield from _over_objective(pod, service)
            yield from _on_weak_basis(pod, service)


def _over_objective(pod: Raw, service: Raw | None) -> Iterator[Finding]:
    text = annotations_of(pod)[keys.PREDICTED_MS_ANNOTATION]
    try:
        predicted = float(text)
    except ValueError:
        predicted = math.nan
    slo = float(service["spec"]["slo"]["latencyMilliseconds"]) if service is not None else math.inf
    if not 0 < predicted <= slo:
        said = f"was bound with a prediction of {text[:32]} ms against an objective of {slo:g} ms"
        since = service is not None and math.isfinite(predicted) and _since(service, bound_at(pod))
        yield Finding(Invariant.NEWCOMER_WITHIN_OBJECTIVE, f"pod {full_name(pod)}", said, broken=not since)


def _on_weak_basis(pod: Raw, service: Raw | None) -> Iterator[Finding]:
    basis = annotations_of(pod)[keys.BASIS_ANNOTATION]
    wanted = (service["spec"].get("placement") or {}).get("minimumBasis", _BASES[-1]) if service is not None else _BASES[-1]
    taken = _BASES[: _BASES.index(wanted) + 1] if wanted in _BASES else _BASES
    if service is not None and basis not in taken:
        said = f"was bound on a prediction that is {basis[:32]}, and its service wants {wanted} or better"
        yield Finding(Invariant.BOUND_AS_DECIDED, f"pod {full_name(pod)}", said, broken=not _since(service, bound_at(pod)))


def _written_on_strangers(pods: Sequence[Raw]) -> Iterator[Finding]:
    for pod in pods:
        found = [key for key in WRITTEN if key in annotations_of(pod)]
        if found and not (is_ours(pod) and pod["spec"].get("nodeName")):
            said = f"carries {', '.join(found)} though it is {'not bound' if is_ours(pod) else 'not ours'}"
            yield Finding(Invariant.STRANGERS_UNTOUCHED, f"pod {full_name(pod)}", said)


def _unsound_conditions(services: Sequence[Raw]) -> Iterator[Finding]:
    for service in services:
        conditions = (service.get("status") or {}).get("conditions") or []
        types = [condition["type"] for condition in conditions]
        where = f"InferenceService {full_name(service)}"
        if len(types) != len(set(types)):
            yield Finding(Invariant.CONDITIONS_SOUND, where, f"has a condition twice: {', '.join(types)}")
        for condition in conditions:
            known = condition.get("observedGeneration", 0) <= service["metadata"]["generation"]
            if not known or condition["status"] not in ("True", "False", "Unknown") or not condition.get("reason"):
                yield Finding(Invariant.CONDITIONS_SOUND, where, f"has the condition {dict(condition)}")


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


def _since(item: Raw, moment: dt.datetime | None) -> bool:
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


def _name(item: Raw) -> str:
    return str(item["metadata"]["name"])

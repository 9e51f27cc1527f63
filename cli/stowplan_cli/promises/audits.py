"""Audits: do the promises hold in a cluster, as its API server shows it, whatever our components believe?

Pure functions of plain objects. What each invariant says, and what it does not, stands in docs/invariants.md.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stowplan_fleet import keys

from stowplan_cli.objects.plainobjects import Raw, annotations_of, bound_at, changed_since, full_name, is_ours, name_of, quantity, requests_of, service_name_of
from stowplan_cli.promises import neighbours


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
    SOLE_TENANT_ALONE = "SoleTenantAlone"
    """A server whose service denies sharing has its device for itself: nobody was there when it came, and nobody of ours came after it."""
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


def structural(nodes: Sequence[Raw], pods: Sequence[Raw], services: Sequence[Raw]) -> list[Finding]:
    """Every finding that needs no prediction."""
    alive = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    bound = [pod for pod in alive if pod["spec"].get("nodeName")]
    return [
        *_over_promised(nodes, bound), *_badly_bound(nodes, bound, services), *_not_alone(bound, services), *_written_on_strangers(alive),
        *_unsound_conditions(services),
    ]  # fmt: skip


def _over_promised(nodes: Sequence[Raw], bound: Sequence[Raw]) -> Iterator[Finding]:
    on_node: dict[str, list[Raw]] = defaultdict(list)
    for pod in bound:
        on_node[pod["spec"]["nodeName"]].append(pod)
    for node in nodes:
        here = on_node[name_of(node)]
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
                yield Finding(Invariant.NO_SLICE_OVER_PROMISED, f"node {name_of(node)}", said, broken=not changed_since(node, newest))


def _badly_bound(nodes: Sequence[Raw], bound: Sequence[Raw], services: Sequence[Raw]) -> Iterator[Finding]:
    by_node = {name_of(node): node for node in nodes}
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
        there = neighbours.device_on(node, device, kind) if node is not None else None
        if node is not None and there is not None:
            said = f"has slice {got} on node {name_of(node)}, whose device is {there}"
            yield Finding(Invariant.BOUND_AS_DECIDED, where, said, broken=not changed_since(node, bound_at(pod)))
        if notes[keys.BASIS_ANNOTATION] != _NO_JUDGEMENT:
            service = by_name.get(service_name_of(pod))
            yield from _over_objective(pod, service)
            yield from _on_weak_basis(pod, service)


def _not_alone(bound: Sequence[Raw], services: Sequence[Raw]) -> Iterator[Finding]:
    denying = {full_name(item): item for item in services if (item["spec"].get("placement") or {}).get("sharing") == "Deny"}
    on_node: dict[str, list[Raw]] = defaultdict(list)
    for pod in bound:
        on_node[pod["spec"]["nodeName"]].append(pod)
    for pod in filter(is_ours, bound):
        service = denying.get(service_name_of(pod))
        found = list(neighbours.unwanted_by(pod, on_node[pod["spec"]["nodeName"]])) if service is not None else []
        if service is not None and found:
            newest = max(filter(None, map(bound_at, (pod, *found))), default=None)
            said = f"is to have its device for itself, and shares it on node {pod['spec']['nodeName']} with {', '.join(sorted(map(full_name, found)))}"
            yield Finding(Invariant.SOLE_TENANT_ALONE, f"pod {full_name(pod)}", said, broken=not changed_since(service, newest))


def _over_objective(pod: Raw, service: Raw | None) -> Iterator[Finding]:
    text = annotations_of(pod)[keys.PREDICTED_MS_ANNOTATION]
    try:
        predicted = float(text)
    except ValueError:
        predicted = math.nan
    slo = float(service["spec"]["slo"]["latencyMilliseconds"]) if service is not None else math.inf
    if not 0 < predicted <= slo:
        said = f"was bound with a prediction of {text[:32]} ms against an objective of {slo:g} ms"
        since = service is not None and math.isfinite(predicted) and changed_since(service, bound_at(pod))
        yield Finding(Invariant.NEWCOMER_WITHIN_OBJECTIVE, f"pod {full_name(pod)}", said, broken=not since)


def _on_weak_basis(pod: Raw, service: Raw | None) -> Iterator[Finding]:
    basis = annotations_of(pod)[keys.BASIS_ANNOTATION]
    wanted = (service["spec"].get("placement") or {}).get("minimumBasis", _BASES[-1]) if service is not None else _BASES[-1]
    taken = _BASES[: _BASES.index(wanted) + 1] if wanted in _BASES else _BASES
    if service is not None and basis not in taken:
        said = f"was bound on a prediction that is {basis[:32]}, and its service wants {wanted} or better"
        yield Finding(Invariant.BOUND_AS_DECIDED, f"pod {full_name(pod)}", said, broken=not changed_since(service, bound_at(pod)))


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

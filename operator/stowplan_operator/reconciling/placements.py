"""Placements: what the pods of a service say of how they fare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stowplan_fleet import keys
from stowplan_fleet.manifests import pods
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.reasons import ConditionReason, ConditionType
from stowplan_fleet.slices import SliceClass

from stowplan_operator.conditions.verdicts import Holds, Verdict


@dataclass(frozen=True, slots=True)
class Placement:
    """Pods of one slice class."""

    bound: int
    ready: int
    unschedulable_s: float | None
    """How long the longest-waiting pod has found no place; None where none waits."""
    why: str
    """What the scheduler says of it."""


def placement_of(found: Sequence[PodManifest], slice_class: SliceClass, since: Mapping[str, datetime], now: datetime) -> Placement:
    """How the pods of a service on its present rung fare; pods of a former rung, and finished ones, do not count.

    Args:
        found: its pods.
        slice_class: of the present rung.
        since: when each unschedulable pod was first seen so, by the pod's UID (`waits`).
        now: with a time zone.
    """
    bound = ready = 0
    waiting: list[tuple[float, str]] = []
    unjudged: list[str] = []
    for pod in found:
        if pod.metadata.annotations.get(keys.SLICE_CLASS_ANNOTATION) != str(slice_class) or pod.metadata.deletion_timestamp or pods.is_finished(pod):
            continue
        conditions = {condition.type: condition for condition in pod.status.conditions}
        if pod.spec.node_name:
            bound += 1
            ready += 1 if (condition := conditions.get("Ready")) is not None and condition.status == "True" else 0
        elif (condition := conditions.get("PodScheduled")) is not None and condition.status == "False":
            if pod.metadata.uid in since:
                waiting.append((max(0.0, (now - since[pod.metadata.uid]).total_seconds()), condition.message))
            else:
                # SchedulerError, for one: says nothing of the nodes, so the rung is not to blame, but the reader has to know.
                unjudged.append(condition.message)
    longest, why = max(waiting, default=(None, max(unjudged, default="")))
    return Placement(bound, ready, longest, why)


def scheduled(placement: Placement, replicas: int, *, stuck: bool) -> Verdict:
    """Whether all replicas have a node."""
    if placement.bound >= replicas:
        return Verdict(ConditionType.SCHEDULED, Holds.TRUE, ConditionReason.ALL_REPLICAS_BOUND, f"all {replicas} replicas have a node")
    count = f"{placement.bound} of {replicas} replicas have a node"
    message = f"{count}; the scheduler says: {placement.why}" if placement.why else count
    reason = ConditionReason.NO_SPARE_SLICE if stuck else ConditionReason.WAITING_FOR_PLACEMENT
    return Verdict(ConditionType.SCHEDULED, Holds.FALSE, reason, message)


def served(placement: Placement, replicas: int) -> Verdict:
    """Whether all replicas serve."""
    if placement.ready >= replicas:
        return Verdict(ConditionType.READY, Holds.TRUE, ConditionReason.ALL_REPLICAS_READY, f"all {replicas} replicas serve")
    return Verdict(ConditionType.READY, Holds.FALSE, ConditionReason.REPLICAS_NOT_READY, f"{placement.ready} of {replicas} replicas serve")

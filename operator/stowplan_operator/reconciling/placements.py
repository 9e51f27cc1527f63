"""Placements: what the pods of a service say of how they fare."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stowplan_fleet import keys
from stowplan_fleet.manifests import pods
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.reasons import ConditionReason, ConditionType
from stowplan_fleet.slices import SliceClass

from stowplan_operator.conditions.verdicts import Holds, Verdict
from stowplan_operator.workloads.rollouts import Rollout


@dataclass(frozen=True, slots=True)
class Placement:
    """How the pods of a service fare."""

    bound: int
    """Of the present rung."""
    ready: Mapping[str, int]
    """By slice class, of any rung: while a change rolls out, the former pods serve."""
    waiting_s: Mapping[str, float]
    """How long each pod of the present rung has found no place, by UID."""
    why: str
    """What the scheduler says of the one that waits longest."""
    unready: str = ""
    """What the first pod by name that has a node and does not serve says of itself; empty where none says anything."""

    @property
    def unschedulable_s(self) -> float | None:
        """How long the longest-waiting pod has found no place; None where none waits."""
        return max(self.waiting_s.values(), default=None)


def placement_of(found: Sequence[PodManifest], slice_class: SliceClass | None, waited_s: Mapping[str, float]) -> Placement:
    """How the pods of a service fare; those that end, or have ended, do not count.

    Args:
        found: its pods.
        slice_class: of the present rung; None where there is none, so that no pod is of it.
        waited_s: for how long each unschedulable pod has been so, by UID (`tenures`).
    """
    bound = 0
    ready: Counter[str] = Counter()
    waiting: dict[str, float] = {}
    said: dict[str, str] = {}
    unjudged: list[str] = []
    unready: list[str] = []
    for pod in found:
        if pod.metadata.deletion_timestamp or pods.is_finished(pod):
            continue
        conditions = {condition.type: condition for condition in pod.status.conditions}
        if pod.spec.node_name:
            condition = conditions.get("Ready")
            ready[pod.metadata.annotations.get(keys.SLICE_CLASS_ANNOTATION, "")] += condition is not None and condition.status == "True"
            if condition is not None and condition.status != "True" and condition.message:
                unready.append(f"pod {pod.metadata.name}: {condition.message}")
        if slice_class is None or pod.metadata.annotations.get(keys.SLICE_CLASS_ANNOTATION) != str(slice_class):
            continue
        if pod.spec.node_name:
            bound += 1
        elif (condition := conditions.get("PodScheduled")) is not None and condition.status == "False":
            if pod.metadata.uid in waited_s:
                waiting[pod.metadata.uid], said[pod.metadata.uid] = waited_s[pod.metadata.uid], condition.message
            else:
                # SchedulerError, for one: says nothing of the nodes, so the rung is not to blame, but the reader has to know.
                unjudged.append(condition.message)
    longest = max(waiting, key=lambda uid: (waiting[uid], said[uid]), default=None)
    return Placement(bound, +ready, waiting, max(unjudged, default="") if longest is None else said[longest], min(unready, default=""))


def scheduled(placement: Placement, replicas: int, rollout: Rollout | None, *, stuck: bool, refusal: str = "") -> Verdict:
    """Whether all replicas have a node.

    Args:
        placement: of its pods.
        replicas: of the present rung.
        rollout: a change that is under way; None where there is none.
        stuck: nowhere else to go.
        refusal: why its pods cannot even be made; empty where they can.
    """
    if rollout is not None and placement.unschedulable_s is not None:
        message = f"a change waits for a slice: {rollout.new} of {replicas} replicas have the new template, {rollout.former} of the former one serve on"
        return Verdict(ConditionType.SCHEDULED, Holds.FALSE, ConditionReason.NO_SPARE_SLICE, f"{message}; the scheduler says: {placement.why}")
    if refusal and (rollout is not None or placement.bound < replicas):
        message = f"{placement.bound} of {replicas} replicas have a node; further pods cannot be made: {refusal}"
        return Verdict(ConditionType.SCHEDULED, Holds.FALSE, ConditionReason.PODS_REFUSED, message)
    if placement.bound >= replicas:
        return Verdict(ConditionType.SCHEDULED, Holds.TRUE, ConditionReason.ALL_REPLICAS_BOUND, f"all {replicas} replicas have a node")
    count = f"{placement.bound} of {replicas} replicas have a node"
    message = f"{count}; the scheduler says: {placement.why}" if placement.why else count
    reason = ConditionReason.NO_SPARE_SLICE if stuck else ConditionReason.WAITING_FOR_PLACEMENT
    return Verdict(ConditionType.SCHEDULED, Holds.FALSE, reason, message)


def served(placement: Placement, replicas: int, rollout: Rollout | None, needs: Mapping[str, int]) -> Verdict:
    """Whether as many replicas serve as the load takes, whatever template they are of.

    Requests are spread evenly over all that serve: those of a class are within the objective where at least as many serve in all as there would have to be of
    that class alone. While four small servers take over from one large one, the large one suffices as long as it serves alone; beside the first small one it
    does not, for that one gets half of the load.

    Args:
        placement: of its pods.
        replicas: of the present rung.
        rollout: a change that is under way; None where there is none.
        needs: how many of each slice class meet the objective, as the ladder says; a class that is not there counts as the present one.
    """
    ready = sum(placement.ready.values())
    under_way = f", {rollout.former} of them by the former template" if rollout is not None else ""
    needed = max((needs.get(name, replicas) for name in placement.ready), default=replicas)
    if ready >= needed:
        count = f"all {replicas} replicas serve" if ready >= replicas else f"{ready} replicas serve, as many as their slice class takes for the load"
        return Verdict(ConditionType.READY, Holds.TRUE, ConditionReason.ALL_REPLICAS_READY, f"{count}{under_way}")
    message = f"{ready} of {needed} replicas serve{under_way}" + (f"; {placement.unready}" if placement.unready else "")
    return Verdict(ConditionType.READY, Holds.FALSE, ConditionReason.REPLICAS_NOT_READY, message)

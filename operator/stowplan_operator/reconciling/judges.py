"""Judges: Scheduled and Ready, from a service's pods and its Deployment."""

from stowplan_fleet.reasons import ConditionReason, ConditionType
from stowplan_fleet.slices import SliceClass

from stowplan_operator.conditions.verdicts import Holds, Verdict
from stowplan_operator.reconciling import placements, statuses
from stowplan_operator.reconciling.looks import Look
from stowplan_operator.reconciling.placements import Placement
from stowplan_operator.reconciling.tenures import Tenures
from stowplan_operator.reconciling.views import Views
from stowplan_operator.workloads import rollouts


class PodJudge:
    """Says how the pods of services fare, and remembers for how long."""

    def __init__(self, views: Views, tenures: Tenures) -> None:
        self._views, self._tenures = views, tenures

    def judge(self, look: Look, replicas: int, *, stuck: bool) -> float | None:
        """Says Scheduled and Ready; answers for how long a pod has found no place.

        Args:
            look: at whom.
            replicas: of the present rung.
            stuck: its pods find no place, and there is no other rung to try.
        """
        present = look.present
        blocker = next((verdict for verdict in look.verdicts.values() if verdict.holds is Holds.FALSE), None)
        if present is None:
            because = blocker or look.verdicts[ConditionType.PLACEABLE]
            look.say(Verdict(ConditionType.SCHEDULED, Holds.UNKNOWN, because.reason, "no rung was chosen yet, so there are no pods"))
            if ConditionType.READY not in look.verdicts:
                look.say(Verdict(ConditionType.READY, Holds.FALSE if blocker else Holds.UNKNOWN, because.reason, because.message))
            return None
        refused = look.verdicts.get(ConditionType.READY)
        if refused is not None and refused.reason is not ConditionReason.FOREIGN_EDITS and not self._views.pods(look.name):
            look.say(Verdict(ConditionType.SCHEDULED, Holds.UNKNOWN, refused.reason, "the Deployment was not made, so there are no pods"))
            return None
        placement = self.placement_of(look, present)
        if look.after.get("rung"):
            self.remember(look)
        deployment = self._views.deployment(look.name)
        rollout = rollouts.rollout_of(deployment)
        refusal = deployment.refusal if deployment is not None else ""
        look.say(placements.scheduled(placement, max(1, replicas), rollout, stuck=stuck, refusal=refusal))
        if ConditionType.READY not in look.verdicts:
            served = placements.served(placement, max(1, replicas), rollout, statuses.needs(look.after.get("ladder"), present, max(1, replicas)))
            look.say(served if blocker is None else Verdict(ConditionType.READY, Holds.FALSE, blocker.reason, blocker.message))
        return placement.unschedulable_s

    def placement_of(self, look: Look, present: SliceClass | None) -> Placement:
        """How the pods fare on a rung."""
        pods = self._views.pods(look.name)
        waited_s = self._tenures.see(look.manifest.metadata.uid, present, pods, look.remembered, look.now)
        return placements.placement_of(pods, present, waited_s)

    def remember(self, look: Look) -> None:
        """Puts into `status.rung` what the next process has to know."""
        placement = self.placement_of(look, look.present)
        look.after["rung"] = self._tenures.written(look.manifest.metadata.uid, placement.waiting_s, look.now)

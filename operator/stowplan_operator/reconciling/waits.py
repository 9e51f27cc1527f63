"""Waits: since when each pod has found no place.

The date of a pod's condition PodScheduled does not tell: it stays when the reason turns from SchedulerError (nobody judged the nodes) to Unschedulable
(the nodes were judged). Kept in memory only: after a restart the count begins anew, which delays a climb and loses nothing else.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from stowplan_fleet.manifests.pods import PodManifest


def is_unschedulable(pod: PodManifest) -> bool:
    """Whether the scheduler has judged the nodes and found none for it."""
    if pod.spec.node_name:
        return False
    return any(item.type == "PodScheduled" and item.status == "False" and item.reason == "Unschedulable" for item in pod.status.conditions)


class Waits:
    """Since when pods are unschedulable without a break, by the service's UID and the pod's."""

    def __init__(self) -> None:
        self._since: dict[str, dict[str, datetime]] = {}

    def note(self, uid: str, found: Sequence[PodManifest], now: datetime) -> Mapping[str, datetime]:
        """Since when each of a service's pods is seen unschedulable; pods that are not, or are gone, are dropped."""
        known = self._since.get(uid, {})
        self._since[uid] = {pod.metadata.uid: known.get(pod.metadata.uid, now) for pod in found if is_unschedulable(pod)}
        return self._since[uid]

    def forget(self, uid: str) -> None:
        """Drops what is remembered of a service that is gone."""
        self._since.pop(uid, None)

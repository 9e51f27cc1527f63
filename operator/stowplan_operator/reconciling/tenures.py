"""Tenures: since when each service stands on its rung, since when its pods wait there, and which rungs it left for want of a place.

Written to `status.rung`, and read from there once in a process, at a service's first look: a restart neither delays a climb nor tries a full rung again.
Afterwards waiting times are counted on a steady clock. The date of a pod's condition PodScheduled would not do: it stays when the reason turns from
SchedulerError (nobody judged the nodes) to Unschedulable (the nodes were judged).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stowplan_fleet import slices
from stowplan_fleet.errors import ValueRefused
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.slices import SliceClass

from stowplan_operator.conditions import merges
from stowplan_operator.reconciling.moments import Moment
from stowplan_operator.sizing.climbs import Choice, Patience, Tenure

# The custom resource definition's bound.
BLOCKED_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class _Mark:
    """A moment to count from or to, and how it is written."""

    steady_s: float
    stamp: str


@dataclass(slots=True)
class _Record:
    slice_class: SliceClass | None
    since: _Mark
    waiting: dict[str, _Mark] = field(default_factory=dict)
    """Since when each pod is seen unschedulable without a break, by its UID."""
    blocked: dict[SliceClass, _Mark] = field(default_factory=dict)
    """Until when each is left alone."""


def is_unschedulable(pod: PodManifest) -> bool:
    """Whether the scheduler has judged the nodes and found none for it."""
    if pod.spec.node_name or pod.metadata.deletion_timestamp:
        return False
    return any(item.type == "PodScheduled" and item.status == "False" and item.reason == "Unschedulable" for item in pod.status.conditions)


class Tenures:
    """Tenures by the service's UID."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._records: dict[str, _Record] = {}

    def see(self, uid: str, present: SliceClass | None, pods: Sequence[PodManifest], written: Mapping[str, Any], now: Moment) -> Mapping[str, float]:
        """Takes a look at a service's pods; answers for how long each unschedulable one has waited, by its UID.

        Args:
            uid: the service's.
            present: the rung it stands on; None where it stands nowhere.
            pods: all of its pods.
            written: `status.rung`, which counts at the first look only.
            now: this moment.
        """
        record = self._records.get(uid)
        if record is None:
            record = self._records[uid] = self._read(present, pods, written, now)
        if record.slice_class != present:
            record.slice_class, record.since = present, _Mark(now.steady_s, now.stamp)
        mark = _Mark(now.steady_s, now.stamp)
        record.waiting = {pod.metadata.uid: record.waiting.get(pod.metadata.uid, mark) for pod in pods if is_unschedulable(pod)}
        return {pod: max(0.0, now.steady_s - since.steady_s) for pod, since in record.waiting.items()}

    def tenure_of(self, uid: str, unschedulable_s: float | None, now: Moment) -> Tenure | None:
        """How a service has fared, after `see`; None where it stands on no rung."""
        record = self._records[uid]
        if record.slice_class is None:
            return None
        return Tenure(record.slice_class, now.steady_s - record.since.steady_s, unschedulable_s, self.blocked(uid, now))

    def blocked(self, uid: str, now: Moment) -> frozenset[SliceClass]:
        """Rungs that are left alone now, after `see`."""
        return frozenset(name for name, until in self._records[uid].blocked.items() if until.steady_s > now.steady_s)

    def note(self, uid: str, before: Tenure | None, choice: Choice, now: Moment) -> None:
        """Remembers a choice."""
        if choice.rung is None:
            return
        chosen, record = choice.rung.candidate.slice_class, self._records[uid]
        if record.slice_class == chosen:
            return
        if before is not None and before.unschedulable_s is not None:
            until = now.date + dt.timedelta(seconds=self._patience.retry_after_s)
            record.blocked[before.slice_class] = _Mark(now.steady_s + self._patience.retry_after_s, merges.stamp(until))
        record.slice_class, record.since = chosen, _Mark(now.steady_s, now.stamp)

    def written(self, uid: str, waiting_s: Mapping[str, float], now: Moment) -> dict[str, Any]:
        """`status.rung`: what the next process has to know. `waiting_s`: of pods of the present rung, by UID."""
        record = self._records[uid]
        result: dict[str, Any] = {"since": record.since.stamp}
        marks = [record.waiting[pod] for pod in waiting_s if pod in record.waiting]
        if marks:
            result["waitingSince"] = min(marks, key=lambda mark: mark.steady_s).stamp
        blocked = [{"sliceClass": str(name), "until": record.blocked[name].stamp} for name in sorted(self.blocked(uid, now))]
        if blocked:
            result["blocked"] = blocked[:BLOCKED_MAX]
        return result

    def forget(self, uid: str) -> None:
        """Drops what is remembered of a service that is gone."""
        self._records.pop(uid, None)

    def _read(self, present: SliceClass | None, pods: Sequence[PodManifest], written: Mapping[str, Any], now: Moment) -> _Record:
        """What a former process wrote. Dates ahead of now, and blocks longer than there are any, come from a clock that was wrong: they count as now."""
        since, waited = (str(written.get(key) or now.stamp) for key in ("since", "waitingSince"))
        record = _Record(present, _Mark(now.steady_s - now.since(since), since))
        mark = _Mark(now.steady_s - now.since(waited), waited)
        record.waiting = {pod.metadata.uid: mark for pod in pods if is_unschedulable(pod)}
        for entry in written.get("blocked") or ():
            try:
                name, until = slices.parse_slice_class(str(entry["sliceClass"])), merges.parse_stamp(str(entry["until"]))
            except (ValueRefused, KeyError, TypeError):
                continue  # somebody else wrote it: as if it were not there
            left_s = (until - now.date).total_seconds() if until is not None else 0.0
            if 0 < left_s <= self._patience.retry_after_s:
                record.blocked[name] = _Mark(now.steady_s + left_s, str(entry["until"]))
        return record

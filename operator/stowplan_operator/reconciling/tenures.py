"""Tenures: since when each service stands on its rung, and which rungs it left for want of a place.

Kept in memory only. After a restart a service counts as having just come to its rung, which delays a descent and may try a full rung once more; nothing
else is lost.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stowplan_fleet.slices import SliceClass

from stowplan_operator.sizing.climbs import Choice, Move, Patience, Tenure


@dataclass(slots=True)
class _Record:
    slice_class: SliceClass
    since: datetime
    blocked: dict[SliceClass, datetime] = field(default_factory=dict)
    """Until when each is left alone."""


class Tenures:
    """Tenures by the service's UID."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._records: dict[str, _Record] = {}

    def tenure_of(self, uid: str, present: SliceClass | None, unschedulable_s: float | None, now: datetime) -> Tenure | None:
        """How a service has fared; None where it stands on no rung."""
        if present is None:
            return None
        record = self._records.get(uid)
        if record is None or record.slice_class != present:
            record = self._records[uid] = _Record(present, now, record.blocked if record else {})
        blocked = frozenset(name for name, until in record.blocked.items() if until > now)
        return Tenure(present, max(0.0, (now - record.since).total_seconds()), unschedulable_s, blocked)

    def note(self, uid: str, before: Tenure | None, choice: Choice, now: datetime) -> None:
        """Remembers a choice."""
        if choice.rung is None:
            return
        chosen = choice.rung.candidate.slice_class
        record = self._records.get(uid)
        if record is None:
            record = self._records[uid] = _Record(chosen, now)
        if before is not None and choice.move is Move.CLIMBED:
            record.blocked[before.slice_class] = now + timedelta(seconds=self._patience.retry_after_s)
        if record.slice_class != chosen:
            record.slice_class, record.since = chosen, now

    def forget(self, uid: str) -> None:
        """Drops what is remembered of a service that is gone."""
        self._records.pop(uid, None)

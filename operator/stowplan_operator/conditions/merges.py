"""Merges: verdicts put into a status, dated where they changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stowplan_fleet.reasons import ConditionType

from stowplan_operator.conditions.verdicts import MESSAGE_MAX, Holds, Verdict


@dataclass(frozen=True, slots=True)
class Merged:
    """The conditions to write."""

    conditions: list[dict[str, Any]]
    """In the order in which a person reads them: Ready first, those of other writers last."""
    transitions: tuple[Verdict, ...]
    """Those whose status or reason is another than before. One that begins as unknown is none, because a condition that is not there means the same; of
    Ready alone it is told."""


def merge(before: Sequence[Mapping[str, Any]], verdicts: Iterable[Verdict], generation: int, now: datetime) -> Merged:
    """Conditions after these verdicts; the date changes with the status only, and conditions of other writers stay.

    Args:
        before: the conditions in the status.
        verdicts: at most one of each type.
        generation: of the spec that the verdicts speak of.
        now: with a time zone.
    """
    known = {str(condition["type"]): condition for condition in before}
    result = {kind: dict(condition) for kind, condition in known.items()}
    transitions = []
    for verdict in verdicts:
        old = known.get(verdict.type)
        same_status = old is not None and old.get("status") == verdict.holds
        if _begins(verdict) if old is None else not same_status or old.get("reason") != verdict.reason:
            transitions.append(verdict)
        result[verdict.type] = {
            "type": str(verdict.type),
            "status": str(verdict.holds),
            "reason": str(verdict.reason),
            "message": verdict.message[:MESSAGE_MAX],
            "lastTransitionTime": str(old["lastTransitionTime"]) if old is not None and same_status else stamp(now),
            "observedGeneration": generation,
        }
    order = {str(kind): number for number, kind in enumerate(ConditionType)}
    conditions = sorted(result.values(), key=lambda condition: order.get(str(condition["type"]), len(order)))
    return Merged(conditions, tuple(transitions))


def _begins(verdict: Verdict) -> bool:
    return verdict.holds is not Holds.UNKNOWN or verdict.type is ConditionType.READY


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds, as the API server writes times."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_stamp(text: str) -> datetime | None:
    """The moment that the API server wrote; None where it is no time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

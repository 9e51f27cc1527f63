"""Merges: verdicts put into a status, dated where they changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stowplan_operator.conditions.verdicts import MESSAGE_MAX, Verdict


@dataclass(frozen=True, slots=True)
class Merged:
    """The conditions to write."""

    conditions: list[dict[str, Any]]
    transitions: tuple[Verdict, ...]
    """Those whose status or reason is another than before."""


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
        if old is None or not same_status or old.get("reason") != verdict.reason:
            transitions.append(verdict)
        result[verdict.type] = {
            "type": str(verdict.type),
            "status": str(verdict.holds),
            "reason": str(verdict.reason),
            "message": verdict.message[:MESSAGE_MAX],
            "lastTransitionTime": str(old["lastTransitionTime"]) if old is not None and same_status else stamp(now),
            "observedGeneration": generation,
        }
    return Merged(list(result.values()), tuple(transitions))


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

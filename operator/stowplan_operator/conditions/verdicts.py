"""Verdicts: one sentence about one condition, not yet dated."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stowplan_fleet.reasons import ConditionReason, ConditionType
from stowplan_fleet.slices import DeviceName

from stowplan_operator.conditions import offers
from stowplan_operator.conditions.offers import Offer
from stowplan_operator.sizing.rungs import Rung

# The custom resource definition's bound.
MESSAGE_MAX: Final = 4096
# Device kinds named in one message; a cluster with more of them has its ladder in the status.
_DEVICES_SHOWN: Final = 8


class Holds(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one condition."""

    type: ConditionType
    holds: Holds
    reason: ConditionReason
    message: str = ""


def not_observed() -> tuple[Verdict, Verdict]:
    """SLOMet and PredictionAccurate while nobody measures the served latency."""
    message = "the served latency is not observed yet"
    return (
        Verdict(ConditionType.SLO_MET, Holds.UNKNOWN, ConditionReason.NOT_OBSERVED, message),
        Verdict(ConditionType.PREDICTION_ACCURATE, Holds.UNKNOWN, ConditionReason.NOT_OBSERVED, message),
    )


def placeable(ladder: Sequence[Rung], chosen: Rung | None, offer: Offer) -> Verdict:
    """Whether some slice class of the cluster is predicted to do.

    Args:
        ladder: in order of preference.
        chosen: the rung to stand on; None where none is allowed.
        offer: what there is.
    """
    if chosen is not None:
        message = f"{chosen.replicas} x {chosen.candidate.slice_class}: {chosen.reason}"
        return Verdict(ConditionType.PLACEABLE, Holds.TRUE, ConditionReason.RUNG_CHOSEN, message)
    if not ladder:
        return Verdict(ConditionType.PLACEABLE, Holds.FALSE, ConditionReason.NO_SLICE_OFFERED, offers.why_no_rung(offer))
    reason = ConditionReason.NO_RUNG_MEETS_SLO if any(rung.judged for rung in ladder) else ConditionReason.PREDICTION_UNKNOWN
    return Verdict(ConditionType.PLACEABLE, Holds.FALSE, reason, _why_none(ladder))


def _why_none(ladder: Sequence[Rung]) -> str:
    """The nearest miss of each device: of a ladder with eight sizes of one CPU, one line tells enough."""
    nearest: dict[DeviceName, Rung] = {}
    for rung in ladder:
        device = rung.candidate.slice_class.device
        known = nearest.get(device)
        if known is None or _miss(rung) < _miss(known):
            nearest[device] = rung
    lines = [f"{device}: {rung.reason} ({rung.replicas} replica{'s' * (rung.replicas != 1)})" for device, rung in sorted(nearest.items())]
    more = len(lines) - _DEVICES_SHOWN
    return "; ".join(lines[:_DEVICES_SHOWN]) + (f"; and {more} more devices" if more > 0 else "")


def _miss(rung: Rung) -> tuple[int, float]:
    """Least is nearest: a number above the objective, then a load that is too high, a number that the service does not go by, then nothing that is known.

    Of those without a number the dearest.
    """
    if rung.predicted_ms is not None:
        return (0, rung.predicted_ms)
    return (1 if rung.judged else 2 if rung.too_weak else 3, -float(rung.cost))

"""Climbs: which rung a service stands on now, and when it moves.

Up: when pods of the present rung have found no place for `climb_after_s`, the cheapest other rung that was not left within `retry_after_s` is taken, and the
one left behind is not tried again for so long. That is the next one up, or, after everything above was tried too, the first one below that may have
come free. Down: a cheaper rung is taken only after the present one was held for `descend_after_s` and its pods all have a place; so a service whose pods
have their places moves down at most once in that time, whatever predictions do. A rung that is not allowed any more is left at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stowplan_fleet.answers import Basis
from stowplan_fleet.slices import SliceClass

from stowplan_operator.sizing.rungs import Rung


class Move(StrEnum):
    """What was decided."""

    CHOSEN = "chosen"
    """A first rung, or another one because the present one is not allowed any more."""
    KEPT = "kept"
    CLIMBED = "climbed"
    DESCENDED = "descended"
    STUCK = "stuck"
    """Pods find no place and no other rung is left to try."""
    NONE = "none"
    """No rung is allowed."""


class Skip(StrEnum):
    """Why a service does not stand on a rung."""

    MISSES_OBJECTIVE = "MissesObjective"
    """Predicted to miss the objective, or not to sustain the load."""
    PREDICTION_UNKNOWN = "PredictionUnknown"
    """Nothing can be predicted there: not allowed, or allowed and left for rungs that are known to do."""
    BASIS_TOO_WEAK = "BasisTooWeak"
    """The prediction rests on a basis weaker than spec.placement.minimumBasis: not allowed, or allowed and left for rungs that are known to do."""
    NO_SPARE_SLICE = "NoSpareSlice"
    """Its pods found no place; status.rung.blocked says until when it is left alone."""
    HELD_BACK = "HeldBack"
    """Cheaper than the present rung, which is held for a while first: a move restarts every pod."""
    DEARER = "Dearer"
    """It would do, and a rung before it does too."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Waiting times, in seconds."""

    climb_after_s: float = 360.0
    """Pods without a place before the next rung is taken. Nothing wakes a pod that only the extender refused: kube-scheduler tries it again when it
    has waited 5 minutes, looked for every 30 s (pkg/scheduler/backend/queue, flushUnschedulablePodsLeftover). Longer than both together, so that a
    place that came free is found before."""
    descend_after_s: float = 1800.0
    """A rung is held before a cheaper one is tried: each move restarts every pod."""
    retry_after_s: float = 1800.0
    """A rung whose pods found no place is left alone."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """How a service has fared on its rung."""

    slice_class: SliceClass
    held_s: float
    """Since when it stands there."""
    unschedulable_s: float | None = None
    """For how long the longest-waiting pod has found no place; None where none waits."""
    blocked: frozenset[SliceClass] = frozenset()
    """Rungs whose pods found no place within the last `retry_after_s`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The rung to stand on."""

    rung: Rung | None
    move: Move


def choose(ladder: Sequence[Rung], tenure: Tenure | None, patience: Patience) -> Choice:
    """The rung to stand on now.

    Args:
        ladder: in order of preference.
        tenure: None for a service that stands nowhere yet.
        patience: waiting times.
    """
    allowed = [rung for rung in ladder if rung.allowed]
    if not allowed:
        return Choice(None, Move.NONE)
    blocked = tenure.blocked if tenure else frozenset()
    open_rungs = [rung for rung in allowed if rung.candidate.slice_class not in blocked]
    best = open_rungs[0] if open_rungs else allowed[0]
    present = next((rung for rung in allowed if tenure and rung.candidate.slice_class == tenure.slice_class), None)
    if tenure is None or present is None:
        return Choice(best, Move.CHOSEN)
    if tenure.unschedulable_s is not None:
        # A lower rung that is open again counts too: everything above may be full for good.
        other = next((rung for rung in open_rungs if rung is not present), None)
        return _from(present, other, patient=tenure.unschedulable_s < patience.climb_after_s)
    if best.rank < present.rank and tenure.held_s >= patience.descend_after_s:
        return Choice(best, Move.DESCENDED)
    return Choice(present, Move.KEPT)


def _from(present: Rung, other: Rung | None, *, patient: bool) -> Choice:
    """Where to go from a rung whose pods find no place."""
    if other is None:
        return Choice(present, Move.STUCK)
    if patient:
        return Choice(present, Move.KEPT)
    return Choice(other, Move.CLIMBED if other.rank > present.rank else Move.DESCENDED)


def skips(ladder: Sequence[Rung], chosen: Rung | None, blocked: frozenset[SliceClass]) -> dict[SliceClass, Skip]:
    """Why each rung but the chosen one was skipped.

    Args:
        ladder: in order of preference.
        chosen: the rung to stand on; None where none is allowed.
        blocked: rungs whose pods found no place lately.
    """
    found: dict[SliceClass, Skip] = {}
    for rung in ladder:
        name = rung.candidate.slice_class
        if chosen is not None and name == chosen.candidate.slice_class:
            continue
        if rung.basis is Basis.UNKNOWN:
            found[name] = Skip.PREDICTION_UNKNOWN
        elif rung.too_weak:
            found[name] = Skip.BASIS_TOO_WEAK
        elif not rung.allowed:
            found[name] = Skip.MISSES_OBJECTIVE
        elif name in blocked:
            found[name] = Skip.NO_SPARE_SLICE
        else:
            found[name] = Skip.HELD_BACK if chosen is not None and rung.rank < chosen.rank else Skip.DEARER
    return found

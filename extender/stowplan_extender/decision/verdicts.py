"""Verdicts: yes with a prediction, no with a reason, or not yet.

An objective is held against the upper bound of the predicted percentile, never the median. What nobody can judge is decided by the policy of
the service concerned: the newcomer's own for the newcomer, the resident's for the resident.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from stowplan_fleet.answers import Answer, Basis, UnknownReason
from stowplan_fleet.services import OnUnknown, Service, ServiceName

from stowplan_extender.decision import inquiries, packings, reasons, screenings
from stowplan_extender.decision.inquiries import Inquest, Inquiry
from stowplan_extender.decision.occupancies import Newcomer
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.decision.signatures import Signature

_SURER_FIRST = {basis: place for place, basis in enumerate(Basis)}


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Yes: newcomer and residents stay inside their objectives, as far as anybody asked can judge."""

    score: int
    """How well the node is packed then, 0 to 10."""
    inquiry: Inquiry | None
    """What was asked about the newcomer."""
    answer: Answer | None
    """What was answered; None where nobody answered, or on a basis too weak for the service, and it allows that."""

    tier: tuple[int, int] = field(init=False, compare=False, repr=False)
    """Sorts acceptances best first: the surer judgement, then the fuller node."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tier", (_SURER_FIRST[self.basis], -self.score))

    @property
    def basis(self) -> Basis:
        """What the acceptance rests on."""
        return self.answer.basis if self.answer else Basis.UNKNOWN


@dataclass(frozen=True, slots=True)
class Postponement:
    """Not yet: something is missing that may be there when the scheduler asks again."""

    text: str
    about_resident: bool = False
    """True where what is missing is somebody's there already: other nodes need not wait for it."""


Verdict = Acceptance | Refusal | Postponement
Answers = Mapping[Inquiry, Answer]

NOT_ANALYSED = "the predictor has not analysed the model yet"
NOT_ANSWERED = "the predictor does not answer"


class _Meaning(Enum):
    WITHIN = auto()
    OVER_SLO = auto()
    OVERLOADED = auto()
    UNKNOWN = auto()
    BASIS_TOO_WEAK = auto()
    GRAPH_MISSING = auto()
    UNANSWERED = auto()


@dataclass(frozen=True, slots=True)
class _Finding:
    """What an answer means for an objective."""

    meaning: _Meaning
    reason: UnknownReason = UnknownReason.PREDICTION_NOT_FINITE
    """Counts with UNKNOWN only, like the message."""
    message: str = ""
    upper_ms: float = math.inf
    basis: Basis = Basis.UNKNOWN
    """Counts with BASIS_TOO_WEAK only."""


def verdict(newcomer: Newcomer, signature: Signature, answers: Answers) -> Verdict:
    """Judges a newcomer on every node of a signature.

    `answers` holds what the predictor said to `questions_for(newcomer, signature)`; what is missing there was not answered.
    A refusal outweighs a postponement: what is certain now need not wait.
    """
    screened = screenings.screen(newcomer, signature)
    if screened is not None:
        return screened
    inquest = inquiries.inquest(newcomer, signature)
    if inquest.beside is None:
        return Postponement(NOT_ANALYSED)
    own = _judge_newcomer(newcomer, inquest, answers)
    if isinstance(own, Refusal):
        return own
    residents = _judge_residents(inquest, answers)
    if residents is not None and (isinstance(residents, Refusal) or own is None):
        return residents
    return own or Acceptance(packings.score(newcomer, signature), inquest.beside, _taken(inquest.beside, newcomer.tenancy.service, answers))


def _judge_newcomer(newcomer: Newcomer, inquest: Inquest, answers: Answers) -> Refusal | Postponement | None:
    service = newcomer.tenancy.service
    found = _find(inquest.beside, service, answers)
    if found.meaning is _Meaning.GRAPH_MISSING:
        # The predictor says so of tenants' graphs too; the same newcomer with nobody beside it tells whose graph it is.
        if _find(inquest.alone, service, answers).meaning in (_Meaning.GRAPH_MISSING, _Meaning.UNANSWERED):
            return Postponement(NOT_ANALYSED)
        return _resident_missing(dict.fromkeys(entry.resident.service.name for entry in inquest.residents if entry.inquiry))
    if found.meaning in (_Meaning.OVER_SLO, _Meaning.OVERLOADED):
        return _refuse_newcomer(newcomer, found, _find(inquest.alone, service, answers))
    if found.meaning is _Meaning.WITHIN or service.placement.on_unknown is OnUnknown.ALLOW:
        return None
    if found.meaning is _Meaning.BASIS_TOO_WEAK:
        alone = _find(inquest.alone, service, answers)
        return reasons.basis_too_weak(service, found.basis, because_of_tenants=alone.meaning is _Meaning.WITHIN)
    return Postponement(NOT_ANSWERED) if found.meaning is _Meaning.UNANSWERED else reasons.prediction_unknown(found.reason, found.message)


def _refuse_newcomer(newcomer: Newcomer, beside: _Finding, alone: _Finding) -> Refusal:
    service, slice_class = newcomer.tenancy.service, newcomer.tenancy.slice_class
    if alone.meaning is _Meaning.OVER_SLO:
        return reasons.too_slow_alone(service, slice_class, alone.upper_ms)
    if alone.meaning is _Meaning.OVERLOADED:
        return reasons.overloaded_alone(slice_class)
    return reasons.too_slow_beside(service, slice_class) if beside.meaning is _Meaning.OVER_SLO else reasons.overloaded_beside(slice_class)


def _judge_residents(inquest: Inquest, answers: Answers) -> Refusal | Postponement | None:
    """The first resident, in canonical order, that would come to harm; else whatever keeps us from knowing."""
    postponed: Postponement | None = None
    for entry in inquest.residents:
        service = entry.resident.service
        harm = _judge_resident(service, _find(entry.inquiry, service, answers))
        if isinstance(harm, Refusal):
            return harm
        postponed = postponed or harm
    return postponed


def _judge_resident(service: Service, found: _Finding) -> Refusal | Postponement | None:
    if found.meaning is _Meaning.OVER_SLO:
        return reasons.resident_over_slo(service)
    if found.meaning is _Meaning.OVERLOADED:
        return reasons.resident_overloaded(service)
    if found.meaning is _Meaning.GRAPH_MISSING:
        return _resident_missing([service.name])
    if found.meaning is _Meaning.WITHIN or service.placement.on_unknown is OnUnknown.ALLOW:
        return None
    if found.meaning is _Meaning.UNANSWERED and service.graph_digest is not None:
        return Postponement(NOT_ANSWERED)
    return reasons.resident_unknown(service, found.basis if found.meaning is _Meaning.BASIS_TOO_WEAK else found.reason)


def _resident_missing(names: Iterable[ServiceName]) -> Postponement:
    """Any of several may be the one: each question names them all."""
    return Postponement(f"the model of resident {' or '.join(names) or 'tenants there'} is not analysed (yet)", about_resident=True)


def _taken(inquiry: Inquiry, service: Service, answers: Answers) -> Answer | None:
    """The answer as the service takes it."""
    answer = answers.get(inquiry)
    return None if answer is None or service.placement.too_weak(answer.basis) else answer


def _find(inquiry: Inquiry | None, service: Service, answers: Answers) -> _Finding:
    answer = answers.get(inquiry) if inquiry else None
    if answer is None:
        return _Finding(_Meaning.UNANSWERED)
    if answer.basis is Basis.UNKNOWN:
        reason = answer.unknown_reason or UnknownReason.PREDICTION_NOT_FINITE
        return _Finding(_Meaning.GRAPH_MISSING if reason is UnknownReason.GRAPH_NOT_FOUND else _Meaning.UNKNOWN, reason, answer.message)
    if service.placement.too_weak(answer.basis):
        # Before anything is read off it: a number that nobody shall rely on neither admits nor refuses.
        return _Finding(_Meaning.BASIS_TOO_WEAK, basis=answer.basis)
    if answer.overloaded:
        return _Finding(_Meaning.OVERLOADED)
    if answer.response is None or not math.isfinite(answer.response.upper_ms):
        # A predictor that breaks its contract is no judge: NaN compares as false with everything and would pass for fast.
        return _Finding(_Meaning.UNKNOWN)
    upper_ms = answer.response.upper_ms
    return _Finding(_Meaning.WITHIN if upper_ms <= service.slo.latency_ms else _Meaning.OVER_SLO, upper_ms=upper_ms)

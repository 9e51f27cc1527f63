"""Rungs of the ladder: a slice class with a number of replicas, and what is predicted there."""

from dataclasses import dataclass
from fractions import Fraction

from stowplan_fleet import reasons
from stowplan_fleet.answers import Answer, Basis, UnknownReason
from stowplan_fleet.services import OnUnknown, Service

from stowplan_operator.sizing.candidates import Candidate


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to run a service."""

    candidate: Candidate
    replicas: int
    predicted_ms: float | None
    """Upper end of the predicted percentile of the response time; None where there is none."""
    basis: Basis
    meets_slo: bool
    """Predicted to hold the objective at the declared load."""
    allowed: bool
    """Meets it, or is unknown and the service allows what is unknown."""
    reason: str
    """Why, for people."""
    too_weak: bool = False
    """There is a prediction, on a basis too weak for the service; its number counts for nothing."""

    @property
    def judged(self) -> bool:
        """False where nothing can be told, or nothing that the service goes by."""
        return self.basis is not Basis.UNKNOWN and not self.too_weak

    @property
    def cost(self) -> Fraction:
        """Of all replicas together, in the candidate's unit."""
        return self.candidate.cost.amount * self.replicas

    @property
    def rank(self) -> tuple[bool, bool, Fraction, int, float, str]:
        """Order of preference, least first: known before unknown, cheap, few replicas (each holds the weights once), fast, by name.

        What has no price comes after everything that has one: an unknown price is not a low one.
        """
        predicted = float("inf") if self.predicted_ms is None else self.predicted_ms
        return (not self.meets_slo, not self.candidate.cost.priced, self.cost, self.replicas, predicted, str(self.candidate.slice_class))


def judge(service: Service, candidate: Candidate, replicas: int, answer: Answer) -> Rung:
    """What an answer means for a service.

    Raises:
        ValueError: the graph is not known to the predictor; that is to be repaired and asked again, it is no judgement.
    """
    slo, name = service.slo, candidate.slice_class
    if answer.unknown_reason is UnknownReason.GRAPH_NOT_FOUND:
        raise ValueError(f"service {service.name}: its graph is not known to the predictor; analyse the model and ask again")
    upper_ms = answer.response.upper_ms if answer.response is not None else None
    allowed = service.placement.on_unknown is OnUnknown.ALLOW
    if answer.basis is Basis.UNKNOWN:
        text = reasons.not_judged(answer.unknown_reason or UnknownReason.PREDICTION_NOT_FINITE, answer.message)
        return Rung(candidate, replicas, None, answer.basis, meets_slo=False, allowed=allowed, reason=text)
    if service.placement.too_weak(answer.basis):
        text = reasons.basis_too_weak(answer.basis, service.placement.minimum_basis)
        return Rung(candidate, replicas, None, answer.basis, meets_slo=False, allowed=allowed, reason=text, too_weak=True)
    if answer.overloaded or upper_ms is None:
        return Rung(candidate, replicas, None, answer.basis, meets_slo=False, allowed=False, reason=reasons.load_not_sustained(name))
    if upper_ms <= slo.latency_ms:
        text = reasons.soon_enough(slo.percentile, upper_ms, slo.latency_ms)
        return Rung(candidate, replicas, upper_ms, answer.basis, meets_slo=True, allowed=True, reason=text)
    text = reasons.too_slow_alone(name, slo.percentile, upper_ms, slo.latency_ms)
    return Rung(candidate, replicas, upper_ms, answer.basis, meets_slo=False, allowed=False, reason=text)

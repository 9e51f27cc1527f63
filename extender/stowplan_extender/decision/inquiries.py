"""Inquiries: the questions a verdict needs answered, each with the runtime whose bundle shall answer it."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import is_

from stowplan_fleet.questions import Question, Tenant

from stowplan_extender.decision import neighbourhoods, screenings
from stowplan_extender.decision.occupancies import Newcomer, Tenancy
from stowplan_extender.decision.signatures import Occupier, Signature, occupier_of


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question to the bundle of a runtime."""

    runtime: str
    question: Question
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Inquiries are keys all over a decision; hashing a tree of tenants anew each time was a third of a cold filter's time.
        object.__setattr__(self, "_hash", hash((self.runtime, self.question)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class ResidentInquiry:
    """How a resident would fare; None where its model was not analysed, so that nobody can be asked."""

    resident: Tenancy
    inquiry: Inquiry | None


@dataclass(frozen=True, slots=True)
class Inquest:
    """All that has to be known about a newcomer on a node of some signature."""

    beside: Inquiry | None
    """The newcomer beside those already there; None where its model was not analysed."""
    alone: Inquiry | None
    """The newcomer with nobody beside it: tells whether an eviction could help."""
    residents: tuple[ResidentInquiry, ...]
    """Each resident that would feel the newcomer, beside the others and the newcomer. Equal residents stand here once."""

    @property
    def inquiries(self) -> tuple[Inquiry, ...]:
        """What to ask, each once, in a stable order."""
        asked = (self.beside, self.alone, *(resident.inquiry for resident in self.residents))
        return tuple(dict.fromkeys(inquiry for inquiry in asked if inquiry is not None))


def questions_for(newcomer: Newcomer, signature: Signature) -> tuple[Inquiry, ...]:
    """What the predictor must be asked before the verdict; nothing where the node is ruled out without it."""
    return () if screenings.screen(newcomer, signature) else inquest(newcomer, signature).inquiries


def inquest(newcomer: Newcomer, signature: Signature) -> Inquest:
    """The questions by their part in the verdict."""
    return _inquest(newcomer.tenancy, occupier_of(newcomer.lodger), signature)


def alone_on(tenancy: Tenancy) -> Inquiry | None:
    """How a server would fare with nobody beside it; None where its model was not analysed."""
    return _inquiry(tenancy, ())


# Made for the questions, for the verdict, and again when the pod is bound.
@lru_cache(4096)
def _inquest(tenancy: Tenancy, arriving: Occupier, signature: Signature) -> Inquest:
    signature = _with_siblings_relieved(tenancy, signature)
    residents: dict[ResidentInquiry, None] = {}
    before: Occupier | None = None
    for position, occupier in enumerate(signature.occupiers):
        if occupier == before:
            # In canonical order equals stand side by side; each of them has the same others.
            continue
        before = occupier
        resident = occupier.tenancy
        if resident is None or _is_former(tenancy, resident) or neighbourhoods.tenant_for(resident, arriving, signature) is None:
            continue
        others = (*signature.occupiers[:position], *signature.occupiers[position + 1 :], arriving)
        residents[ResidentInquiry(resident, _inquiry_among(resident, others, signature))] = None
    return Inquest(
        beside=_inquiry_among(tenancy, signature.occupiers, signature),
        alone=_inquiry(tenancy, ()),
        residents=tuple(residents),
    )


def _with_siblings_relieved(tenancy: Tenancy, signature: Signature) -> Signature:
    """Servers of the newcomer's own service carry what is theirs once all replicas are there, as the newcomer itself is judged.

    While some have no node, those that have one carry more. Held against the newcomer, that would keep out the very pod that takes load off them, or, where
    they are of a former rung, that replaces them.
    """
    siblings = sum(occupier.tenancy is not None and occupier.tenancy.service.name == tenancy.service.name for occupier in signature.occupiers)
    relieved = tuple(_relieved(tenancy, occupier, siblings) for occupier in signature.occupiers)
    # Compared by identity: for all but siblings this is the look at a name.
    return signature if all(map(is_, relieved, signature.occupiers)) else replace(signature, occupiers=relieved)


def _relieved(newcomer: Tenancy, occupier: Occupier, siblings: int) -> Occupier:
    sibling = occupier.tenancy
    if sibling is None or sibling.service.name != newcomer.service.name:
        return occupier
    # Those of a former rung share the load with each other until they go, however few servers are planned now; of them, only those here are known here.
    replicas = max(newcomer.service.replicas, siblings if _is_former(newcomer, sibling) else 0)
    if sibling.service.replicas >= replicas:
        return occupier
    return replace(occupier, tenancy=replace(sibling, service=replace(sibling.service, replicas=replicas)))


def _is_former(newcomer: Tenancy, resident: Tenancy) -> bool:
    """Whether a resident serves the newcomer's own service on another slice class: a service stands on one, so one of the two is to replace the other."""
    return resident.service.name == newcomer.service.name and resident.slice_class != newcomer.slice_class


def _inquiry_among(subject: Tenancy, others: tuple[Occupier, ...], signature: Signature) -> Inquiry | None:
    tenants = neighbourhoods.tenants_for(subject, others, signature)
    most = neighbourhoods.most_at_once(subject, signature)
    # Said only where it matters: questions that are equal otherwise stay equal.
    return _inquiry(subject, tenants, most if most is not None and most < len(tenants) else None)


def _inquiry(subject: Tenancy, tenants: tuple[Tenant, ...], tenants_at_once: int | None = None) -> Inquiry | None:
    known = neighbourhoods.analysed_occupant(subject)
    return Inquiry(subject.service.runtime, Question(known, tenants, subject.service.slo.percentile, tenants_at_once)) if known else None

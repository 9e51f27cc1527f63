"""One pod over all nodes: what to ask, and then who is left, best first.

Two steps, because asking is I/O and this is not: `inquire`, put the questions to a predictor, then `place`.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

from stowplan_fleet.answers import Basis
from stowplan_fleet.nodes import NodeName

from stowplan_extender.decision import inquiries, verdicts
from stowplan_extender.decision.inquiries import Inquiry
from stowplan_extender.decision.occupancies import Newcomer, NodeState
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.decision.signatures import Signature, signature_of
from stowplan_extender.decision.verdicts import Acceptance, Answers, Postponement, Verdict

_SURER_FIRST = {basis: place for place, basis in enumerate(Basis)}


@dataclass(frozen=True, slots=True)
class Placing:
    """A verdict for every node."""

    accepted: tuple[tuple[NodeName, Acceptance], ...]
    """Best first; equals by name."""
    refused: dict[NodeName, Refusal]
    postponed: dict[NodeName, Postponement]

    @property
    def texts(self) -> dict[NodeName, str]:
        """The reason for each node that is not accepted."""
        return {name: verdict.text for verdicts_ in (self.refused, self.postponed) for name, verdict in verdicts_.items()}


def inquire(newcomer: Newcomer, nodes: Iterable[NodeState]) -> tuple[Inquiry, ...]:
    """Everything to ask before `place`, each once."""
    signatures = dict.fromkeys(signature_of(node.without(newcomer.uid)) for node in nodes)
    return tuple(dict.fromkeys(inquiry for signature in signatures for inquiry in inquiries.questions_for(newcomer, signature)))


def place(newcomer: Newcomer, nodes: Sequence[NodeState], answers: Answers) -> Placing:
    """Judges every node; the newcomer itself, where it already stands on one, does not count there."""
    judged: dict[Signature, Verdict] = {}
    accepted: list[tuple[NodeName, Acceptance]] = []
    refused: dict[NodeName, Refusal] = {}
    postponed: dict[NodeName, Postponement] = {}
    for node in nodes:
        signature = signature_of(node.without(newcomer.uid))
        if signature not in judged:
            judged[signature] = verdicts.verdict(newcomer, signature, answers)
        match judged[signature]:
            case Acceptance() as acceptance:
                accepted.append((node.inventory.name, acceptance))
            case Refusal() as refusal:
                refused[node.inventory.name] = refusal
            case Postponement() as postponement:
                postponed[node.inventory.name] = postponement
    return Placing(tuple(sorted(accepted, key=rank)), refused, postponed)


def best(names: Sequence[NodeName], found: Sequence[Verdict], count: int) -> list[NodeName]:
    """The best so many nodes that accept, by their verdicts; all of them, in the order given, where they are no more or `count` is 0."""
    # Nodes of one signature share one verdict: five thousand are told apart by a few of those, and by name only where that decides.
    places = list(map(id, found))
    tiers: dict[tuple[int, int], set[int]] = {}
    for place, verdict in dict(zip(places, found, strict=True)).items():
        if isinstance(verdict, Acceptance):
            tiers.setdefault(_tier(verdict), set()).add(place)
    fitting = set().union(*tiers.values())
    if not count or sum(map(fitting.__contains__, places)) <= count:
        return list(compress(names, map(fitting.__contains__, places)))
    chosen: list[NodeName] = []
    for tier in sorted(tiers):
        chosen += heapq.nsmallest(count - len(chosen), compress(names, map(tiers[tier].__contains__, places)))
        if len(chosen) == count:
            break
    return chosen


def rank(entry: tuple[NodeName, Acceptance]) -> tuple[int, int, NodeName]:
    """Sorts accepted nodes best first: the surer judgement, then the fuller node, then the name."""
    name, acceptance = entry
    return *_tier(acceptance), name


def _tier(acceptance: Acceptance) -> tuple[int, int]:
    return _SURER_FIRST[acceptance.basis], -acceptance.score

"""One pod over all nodes: what to ask, and then who is left, best first.

Two steps, because asking is I/O and this is not: `inquire`, put the questions to a predictor, then `place`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from typing import Final

from stowplan_fleet.nodes import NodeName

from stowplan_extender.decision import inquiries, verdicts
from stowplan_extender.decision.inquiries import Inquiry
from stowplan_extender.decision.occupancies import Newcomer, NodeState
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.decision.signatures import Signature, signature_of
from stowplan_extender.decision.verdicts import Acceptance, Answers, Postponement, Verdict

# The K-th smallest of so many names bounds the K smallest of all, and leaves few others to be sorted.
_SAMPLE: Final = 256


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
    signatures = dict.fromkeys(signature_of(node.without(newcomer.uid), newcomer.requests.memory_bytes) for node in nodes)
    return tuple(dict.fromkeys(inquiry for signature in signatures for inquiry in inquiries.questions_for(newcomer, signature)))


def place(newcomer: Newcomer, nodes: Sequence[NodeState], answers: Answers) -> Placing:
    """Judges every node; the newcomer itself, where it already stands on one, does not count there."""
    judged: dict[Signature, Verdict] = {}
    accepted: list[tuple[NodeName, Acceptance]] = []
    refused: dict[NodeName, Refusal] = {}
    postponed: dict[NodeName, Postponement] = {}
    for node in nodes:
        signature = signature_of(node.without(newcomer.uid), newcomer.requests.memory_bytes)
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


def best(names: Sequence[NodeName], numbers: Sequence[int | None], acceptances: Mapping[int | None, Acceptance], count: int) -> list[NodeName]:
    """The best so many nodes that accept; all of them, in the order given, where they are no more or `count` is 0.

    Args:
        names: of the nodes.
        numbers: one a name; nodes that are alike share one.
        acceptances: of the numbers that were accepted.
        count: how many.
    """
    # Five thousand nodes are told apart by the few verdicts they share, and by name only where that decides; no step of the interpreter is taken for each.
    tiers: defaultdict[tuple[int, int], set[int | None]] = defaultdict(set)
    for number, acceptance in acceptances.items():
        tiers[acceptance.tier].add(number)
    few = list(islice(compress(names, map(acceptances.__contains__, numbers)), count + 1 if count else None))
    if not count or len(few) <= count:
        return few
    chosen: list[NodeName] = []
    for tier in sorted(tiers):
        chosen += _first(list(compress(names, map(tiers[tier].__contains__, numbers))), count - len(chosen))
        if len(chosen) == count:
            break
    return chosen


def _first(names: list[NodeName], count: int) -> list[NodeName]:
    """The first so many by name."""
    if count == 1 and names:
        return [min(names)]
    if count < len(names):
        bound = sorted(names[: max(count, _SAMPLE)])[count - 1]
        names = [name for name in names if name <= bound]
    return sorted(names)[:count]


def rank(entry: tuple[NodeName, Acceptance]) -> tuple[int, int, NodeName]:
    """Sorts accepted nodes best first: the surer judgement, then the fuller node, then the name."""
    name, acceptance = entry
    return *acceptance.tier, name

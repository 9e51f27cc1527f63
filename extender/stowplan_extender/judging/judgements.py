"""Judgements: verdicts for one pod over many nodes, made from the view and the predictor, and remembered per signature.

Pure towards the cluster: asking twice changes nothing, because the scheduler asks for simulations and nominated nodes too.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Final, cast

from stowplan_fleet.answers import Answer
from stowplan_fleet.nodes import NodeName

from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.decision import inquiries, placings, verdicts
from stowplan_extender.decision.inquiries import Inquiry
from stowplan_extender.decision.occupancies import Newcomer, Requests, Tenancy
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.decision.signatures import Signature
from stowplan_extender.decision.verdicts import Acceptance, Postponement, Verdict
from stowplan_extender.judging.predictions import Predictions
from stowplan_extender.recording.recordings import Grounds

# Kinds of newcomers (service, slice class, requests) whose verdicts are kept. Replicas of one service are one kind; a cluster starts few at a time.
_KINDS_MAX: Final = 256
# Verdicts of signatures that no node has any more are cleared out once there are so many more than signatures.
_SLACK: Final = 1_024

# Added to the number of a node with too little memory for this newcomer: the same node otherwise, and refused for that unless for something worse.
_SHORT: Final = 1 << 40

_UNKNOWN_NODE: Final = Postponement("the node is not in the extender's view yet")


@dataclass(frozen=True, slots=True)
class Ruling:
    """Verdicts by node. Of five thousand nodes, so nothing is made of them before somebody asks."""

    names: Sequence[NodeName]
    numbers: Sequence[int | None]
    """One a name; nodes that are alike share one."""
    counts: Mapping[int | None, int]
    """How many nodes have each number."""
    acceptances: Mapping[int | None, Acceptance]
    """By number, as the refusals and postponements are."""
    refusals: Mapping[int | None, Refusal]
    postponements: Mapping[int | None, Postponement]
    grounds: Grounds | None = None
    """What all of it rests on, where that is wanted."""

    @property
    def fits(self) -> bool:
        """Whether any node accepts."""
        return bool(self.acceptances)

    @property
    def accepted(self) -> list[tuple[NodeName, Acceptance]]:
        """In the order asked."""
        return list(self._of(self.acceptances))

    @property
    def refused(self) -> dict[NodeName, Refusal]:
        """Why not, by node."""
        return dict(self._of(self.refusals))

    @property
    def postponed(self) -> dict[NodeName, Postponement]:
        """Why not yet, by node."""
        return dict(self._of(self.postponements))

    def best(self, count: int) -> list[NodeName]:
        """The best so many nodes that accept (`placings.best`)."""
        return placings.best(self.names, self.numbers, self.acceptances, count)

    def verdict(self, number: int | None) -> Verdict:
        """The verdict on nodes of a number."""
        return self.acceptances.get(number) or self.refusals.get(number) or self.postponements[number]

    def _of(self, held: Mapping[int | None, Any]) -> Iterator[tuple[NodeName, Any]]:
        if not held:
            return iter(())
        chosen = compress(zip(self.names, self.numbers, strict=True), map(held.__contains__, self.numbers))
        return ((name, held[number]) for name, number in chosen)

    @property
    def cause(self) -> str:
        """The most frequent reason for the pod to wait; empty where only residents of some nodes lack something."""
        texts = Counter[str]()
        for number, postponement in self.postponements.items():
            if not postponement.about_resident:
                texts[postponement.text] += self.counts[number]
        return texts.most_common(1)[0][0] if texts else ""


@dataclass(slots=True)
class _Memory:
    epoch: int
    until_s: float
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    answers: dict[Inquiry, Answer] = field(default_factory=dict)
    """What those verdicts rest on, where that is wanted."""


class Judge:
    """Judges newcomers."""

    def __init__(self, view: ClusterView, predictions: Predictions, reuse_s: float, clock: Callable[[], float], *, grounds: bool = False) -> None:
        """`reuse_s`: how long a verdict is used again for another node or replica; `clock` counts monotonic seconds; `grounds`: keep what rulings rest on."""
        self._keeps_grounds = grounds
        self._view = view
        self._predictions = predictions
        self._reuse_s = reuse_s
        self._clock = clock
        self._memories: OrderedDict[tuple[Tenancy, Requests], _Memory] = OrderedDict()

    async def rule(self, newcomer: Newcomer, names: Sequence[str]) -> Ruling:
        """Judges a newcomer on each of these nodes; a node that is not known yet is postponed."""
        self._view.settle()
        own = self._own_places(newcomer)
        numbers: list[int | None] = list(map(self._view.numbering.numbers.get, names))
        short = self._view.memory.short_of(newcomer.requests.memory_bytes)
        if short and not short.isdisjoint(cast("Sequence[NodeName]", names)):
            numbers = [number + _SHORT if number is not None and name in short else number for name, number in zip(names, numbers, strict=True)]
        counts = Counter(numbers)
        memory = self._memory(newcomer)
        judged: dict[int | None, Verdict] = {number: known for number in counts if number is not None and (known := memory.verdicts.get(number))}
        judged[None] = _UNKNOWN_NODE
        # Before anything waits: a number may stand for nothing any more afterwards.
        stood = {number: self._signature(number) for number in counts if number is not None} if self._keeps_grounds else {}
        fresh = {number: signature for number in counts if number is not None and number not in judged and (signature := self._signature(number))}
        answers: Mapping[Inquiry, Answer] = {}
        if fresh or own:
            made, answers = await self._judge(newcomer, [*fresh.values(), *own.values()], memory)
            judged |= {number: made[signature] for number, signature in fresh.items()}
            for special, (name, signature) in enumerate(own.items(), start=1):
                # Numbers of signatures begin at 0.
                judged[-special] = made[signature]
                for place in [place for place, asked in enumerate(names) if asked == name]:
                    numbers[place] = -special
            if own:
                counts = Counter(numbers)
        kinds: dict[type, dict[int | None, Any]] = {Acceptance: {}, Refusal: {}, Postponement: {}}
        for number in counts:
            verdict = judged[number]
            kinds[verdict.__class__][number] = verdict
        ruling = Ruling(cast("Sequence[NodeName]", names), numbers, counts, kinds[Acceptance], kinds[Refusal], kinds[Postponement])
        if not self._keeps_grounds:
            return ruling
        signatures = {
            NodeName(name): own.get(NodeName(name)) or (None if number is None else stood[number]) for name, number in zip(names, numbers, strict=True)
        }
        return replace(ruling, grounds=_grounds(newcomer, signatures, ruling, {**memory.answers, **answers}))

    async def judge(self, newcomer: Newcomer, node: NodeName, signature: Signature) -> tuple[Verdict, Grounds]:
        """Judges a newcomer on one node, from answers no older than fresh ones are; and what that rests on."""
        asked = inquiries.questions_for(newcomer, signature)
        answered = await self._predictions.answers(asked)
        verdict = verdicts.verdict(newcomer, signature, answered.answers)
        return verdict, Grounds(newcomer, {node: signature}, answered.answers, {signature: verdict}, asked)

    def _own_places(self, newcomer: Newcomer) -> dict[NodeName, Signature]:
        """Nodes on which the newcomer itself counts, and must not: it was promised a place there, or stands there already."""
        nodes = set(self._view.reservations.nodes_of(newcomer.uid))
        record = self._view.pod(newcomer.uid)
        if record is not None and record.node is not None:
            nodes.add(record.node)
        found = {name: self._view.signature_for(newcomer, name) for name in nodes}
        return {name: signature for name, signature in found.items() if signature is not None}

    def _signature(self, number: int) -> Signature:
        if number >= _SHORT:
            return replace(self._signature(number - _SHORT), memory_short=True)
        signature = self._view.numbering.signature(number)
        assert signature is not None, "a number that a node has stands for a signature"  # noqa: S101
        return signature

    def _memory(self, newcomer: Newcomer) -> _Memory:
        kind = (newcomer.tenancy, newcomer.requests)
        now, epoch = self._clock(), self._predictions.epoch
        memory = self._memories.get(kind)
        if memory is None or memory.epoch != epoch or memory.until_s <= now:
            memory = self._memories[kind] = _Memory(epoch, now + self._reuse_s)
        self._memories.move_to_end(kind)
        while len(self._memories) > _KINDS_MAX:
            self._memories.popitem(last=False)
        if len(memory.verdicts) > 2 * len(self._view.numbering) + _SLACK:
            memory.verdicts = {number: verdict for number, verdict in memory.verdicts.items() if self._view.numbering.signature(number) is not None}
        return memory

    async def _judge(self, newcomer: Newcomer, signatures: Sequence[Signature], memory: _Memory) -> tuple[dict[Signature, Verdict], Mapping[Inquiry, Answer]]:
        asked = dict.fromkeys(inquiry for signature in signatures for inquiry in inquiries.questions_for(newcomer, signature))
        answered = await self._predictions.answers(asked)
        made = {signature: verdicts.verdict(newcomer, signature, answered.answers) for signature in signatures}
        if answered.fresh and memory.epoch == self._predictions.epoch:
            for signature, verdict in made.items():
                number = self._view.numbering.number(signature)
                if number is not None and not isinstance(verdict, Postponement):
                    memory.verdicts[number] = verdict
            if self._keeps_grounds:
                memory.answers.update(answered.answers)
        return made, answered.answers


def _grounds(newcomer: Newcomer, signatures: Mapping[NodeName, Signature | None], ruling: Ruling, answers: Mapping[Inquiry, Answer]) -> Grounds:
    numbers = dict(zip(ruling.names, ruling.numbers, strict=True))
    made = {signature: ruling.verdict(numbers[name]) for name, signature in signatures.items() if signature is not None}
    asked = tuple(dict.fromkeys(inquiry for signature in made for inquiry in inquiries.questions_for(newcomer, signature)))
    return Grounds(newcomer, signatures, {inquiry: answers[inquiry] for inquiry in asked if inquiry in answers}, made, asked)

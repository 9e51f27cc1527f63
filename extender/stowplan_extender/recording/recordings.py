"""Recordings: a decision with all that it rested on, as one line of JSON, and what the same inputs give again.

A record holds values, not objects of Kubernetes: the newcomer, the distinct signatures of the nodes asked about, and what the predictor said, with the
bundle that said it. The decision core is pure, so that those values are the whole reason of the outcome (`replay`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from google.protobuf import json_format
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan_fleet.answers import Answer
from stowplan_fleet.codecs.answers import answer_from_message, answer_to_message
from stowplan_fleet.codecs.devices import device_from_message, device_to_message
from stowplan_fleet.codecs.questions import question_from_message, question_to_message
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import FleetError, ManifestRefused
from stowplan_fleet.nodes import NodeName
from stowplan_fleet.slices import DeviceName

from stowplan_extender.decision import placings, verdicts
from stowplan_extender.decision.inquiries import Inquiry
from stowplan_extender.decision.occupancies import Newcomer
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.decision.signatures import Signature
from stowplan_extender.decision.verdicts import Acceptance, Verdict

FORMAT: Final = 2
"""Grows when an old record can no longer be read."""


class Said(msgspec.Struct, frozen=True, rename="camel"):
    """A question and what was answered; no answer where nobody answered."""

    runtime: str
    question: dict[str, Any]
    answer: dict[str, Any] | None = None
    bundle: str = ""


class Outcome(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A verdict in plain values."""

    kind: str
    """`accepted`, `refused` or `postponed`."""
    text: str = ""
    reason: str = ""
    resolvable: bool = False
    score: int = 0
    basis: str = ""
    predicted_milliseconds: float | None = None


class Record(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One decision."""

    format: int = FORMAT
    at: str = ""
    """UTC, to the second; no input."""
    verb: str
    pod: str
    newcomer: Newcomer
    signatures: list[Signature]
    nodes: dict[str, int | None]
    """Which signature each node asked about had; null for a node that was not known."""
    said: list[Said]
    devices: dict[str, dict[str, Any]]
    """Descriptors of the devices asked about, for whoever wants to ask a predictor again."""
    best_k: int = 0
    verdicts: list[Outcome]
    """By signature."""
    returned: list[str]
    """Names of the nodes answered, in their order."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a ruling rested on."""

    newcomer: Newcomer
    signatures: Mapping[NodeName, Signature | None]
    answers: Mapping[Inquiry, Answer]
    verdicts: Mapping[Signature, Verdict]
    asked: tuple[Inquiry, ...] = field(default=())
    """Every question, answered or not."""


def record_of(grounds: Grounds, *, verb: str, pod: str, at: str, best_k: int, returned: Sequence[str], devices: Mapping[DeviceName, Device]) -> Record:
    """The record of a decision."""
    numbers = {signature: number for number, signature in enumerate(grounds.verdicts)}
    return Record(
        at=at,
        verb=verb,
        pod=pod,
        newcomer=grounds.newcomer,
        signatures=list(numbers),
        nodes={str(name): None if signature is None else numbers[signature] for name, signature in grounds.signatures.items()},
        said=[_said(inquiry, grounds.answers.get(inquiry)) for inquiry in grounds.asked],
        devices={str(name): json_format.MessageToDict(device_to_message(device)) for name, device in sorted(devices.items())},
        best_k=best_k,
        verdicts=[outcome_of(verdict) for verdict in grounds.verdicts.values()],
        returned=list(returned),
    )


def write(record: Record) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(record) + b"\n"


def read(line: bytes, where: str) -> Record:
    """A record from its line.

    Raises:
        ManifestRefused: it is none, or of a newer format; says where.
    """
    try:
        head = msgspec.json.decode(line, type=_Head)
        if head.format != FORMAT:
            raise ManifestRefused(f"{where}: a record of format {head.format}; this version reads {FORMAT}: use the version that wrote it")
        return msgspec.json.decode(line, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ManifestRefused(f"{where}: not a recorded decision: {error}") from error


def answers_of(record: Record) -> dict[Inquiry, Answer]:
    """The recorded answers.

    Raises:
        ManifestRefused: a question or an answer that is none.
    """
    found: dict[Inquiry, Answer] = {}
    for inquiry, said in zip(inquiries_of(record), record.said, strict=True):
        if said.answer is not None:
            try:
                found[inquiry] = answer_from_message(json_format.ParseDict(said.answer, pb.Answer()), said.bundle)
            except (json_format.ParseError, FleetError) as error:
                raise ManifestRefused(f"the record of {record.pod}: an answer that cannot be read: {error}") from error
    return found


def inquiries_of(record: Record) -> list[Inquiry]:
    """The recorded questions, in order.

    Raises:
        ManifestRefused: a question that is none.
    """
    try:
        return [Inquiry(said.runtime, question_from_message(json_format.ParseDict(said.question, pb.Question()))) for said in record.said]
    except (json_format.ParseError, FleetError) as error:
        raise ManifestRefused(f"the record of {record.pod}: a question that cannot be read: {error}") from error


def devices_of(record: Record) -> dict[DeviceName, Device]:
    """The recorded devices.

    Raises:
        ManifestRefused: one that is none.
    """
    try:
        return {DeviceName(name): device_from_message(name, json_format.ParseDict(plain, pb.Device())) for name, plain in record.devices.items()}
    except (json_format.ParseError, FleetError) as error:
        raise ManifestRefused(f"the record of {record.pod}: a device that cannot be read: {error}") from error


def replay(record: Record, answers: Mapping[Inquiry, Answer]) -> list[str]:
    """Decides again on the recorded inputs; what comes out otherwise, in words. Nothing is the promise.

    Raises:
        ManifestRefused: a node of a signature that is not there.
    """
    if len(record.verdicts) != len(record.signatures) or not all(number is None or 0 <= number < len(record.signatures) for number in record.nodes.values()):
        raise ManifestRefused(f"the record of {record.pod}: signatures, verdicts and nodes do not fit together")
    made = [verdicts.verdict(record.newcomer, signature, answers) for signature in record.signatures]
    differences = [
        f"{_holders(record, number)}: {_say(before)}, and now {_say(now)}"
        for number, (before, now) in enumerate(zip(record.verdicts, map(outcome_of, made), strict=True))
        if before != now
    ]
    known = {NodeName(name): number for name, number in record.nodes.items() if number is not None}
    accepted: dict[int | None, Acceptance] = {number: verdict for number, verdict in enumerate(made) if isinstance(verdict, Acceptance)}
    returned = [str(name) for name in placings.best(list(known), list(known.values()), accepted, record.best_k)]
    if returned != record.returned:
        differences.append(f"nodes {', '.join(record.returned) or 'none'} were returned, and now {', '.join(returned) or 'none'}")
    return differences


def outcome_of(verdict: Verdict) -> Outcome:
    """A verdict in plain values."""
    if isinstance(verdict, Acceptance):
        response = verdict.answer.response if verdict.answer is not None else None
        return Outcome("accepted", score=verdict.score, basis=verdict.basis.value, predicted_milliseconds=response.upper_ms if response else None)
    if isinstance(verdict, Refusal):
        return Outcome("refused", text=verdict.text, reason=verdict.reason.value, resolvable=verdict.resolvable)
    return Outcome("postponed", text=verdict.text)


class _Head(msgspec.Struct, frozen=True):
    format: int


def _said(inquiry: Inquiry, answer: Answer | None) -> Said:
    question = json_format.MessageToDict(question_to_message(inquiry.question))
    if answer is None:
        return Said(inquiry.runtime, question)
    return Said(inquiry.runtime, question, json_format.MessageToDict(answer_to_message(answer)), answer.bundle)


def _holders(record: Record, number: int) -> str:
    names: Iterable[str] = (name for name, held in record.nodes.items() if held == number)
    shown = sorted(names)
    return f"node {shown[0]}" + (f" and {len(shown) - 1} like it" if len(shown) > 1 else "") if shown else f"signature {number}"


def _say(outcome: Outcome) -> str:
    if outcome.kind == "accepted":
        number = "without a number" if outcome.predicted_milliseconds is None else f"at {outcome.predicted_milliseconds!r} ms"
        return f"accepted {number} (score {outcome.score}, {outcome.basis})"
    return f"{outcome.kind}: {outcome.text}"

"""Questions, who they are about, and requests of many as messages."""

import math
from collections.abc import Mapping, Sequence

from stowplan.predictor.v1 import predictor_pb2 as pb

from stowplan_fleet.codecs.devices import device_from_message, device_to_message, slice_class_from_message, slice_class_to_message
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import MessageRefused
from stowplan_fleet.questions import Occupant, Question, Tenant, UnknownOccupant
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName


def request_to_message(questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> pb.PredictRequest:
    """The message that asks all questions at once."""
    return pb.PredictRequest(
        questions=[question_to_message(question) for question in questions],
        devices={name: device_to_message(device) for name, device in devices.items()},
        runtime=runtime,
    )


def request_from_message(message: pb.PredictRequest) -> tuple[list[Question], dict[DeviceName, Device], str]:
    """Questions, devices and runtime of a request.

    Raises:
        MessageRefused: what and where it cannot be read.
    """
    devices = {DeviceName(name): device_from_message(name, device) for name, device in message.devices.items()}
    questions: list[Question] = []
    for index, question in enumerate(message.questions):
        try:
            questions.append(question_from_message(question))
        except MessageRefused as error:
            raise MessageRefused(f"questions[{index}]: {error}") from error
    return questions, devices, message.runtime


def question_to_message(value: Question) -> pb.Question:
    """The message of a question."""
    return pb.Question(
        subject=occupant_to_message(value.subject),
        tenants=[_tenant_to_message(tenant) for tenant in value.tenants],
        percentile=value.percentile,
        tenants_at_once=value.tenants_at_once or 0,
    )


def question_from_message(message: pb.Question) -> Question:
    """The question of a message.

    Raises:
        MessageRefused: a part is missing or no such number.
    """
    if not 1 <= message.percentile <= 99:
        raise MessageRefused(f"question.percentile: {message.percentile} is not between 1 and 99")
    if message.tenants_at_once < 0:
        raise MessageRefused(f"question.tenants_at_once: {message.tenants_at_once} is below zero")
    if not message.HasField("subject"):
        raise MessageRefused("question.subject is missing")
    return Question(
        subject=occupant_from_message(message.subject),
        tenants=tuple(_tenant_from_message(tenant) for tenant in message.tenants),
        percentile=message.percentile,
        tenants_at_once=message.tenants_at_once or None,
    )


def occupant_to_message(value: Occupant) -> pb.Occupant:
    """The message of an occupant."""
    return pb.Occupant(
        graph_digest=value.graph_digest,
        slice_class=slice_class_to_message(value.slice_class),
        requests_per_second=value.requests_per_second,
        payload_instances=value.payload_instances,
        concurrency=value.concurrency,
        max_batch=value.max_batch,
    )


def occupant_from_message(message: pb.Occupant) -> Occupant:
    """The occupant of a message.

    Raises:
        MessageRefused: a part is missing or no such number.
    """
    if not message.graph_digest:
        raise MessageRefused("occupant.graph_digest is empty")
    rate = message.requests_per_second
    if not math.isfinite(rate) or rate < 0:
        raise MessageRefused(f"occupant.requests_per_second: {rate} is no rate")
    for name in ("payload_instances", "concurrency", "max_batch"):
        if getattr(message, name) < 1:
            raise MessageRefused(f"occupant.{name}: {getattr(message, name)}; must be at least 1")
    return Occupant(
        graph_digest=GraphDigest(message.graph_digest),
        slice_class=slice_class_from_message(message.slice_class),
        requests_per_second=rate,
        payload_instances=message.payload_instances,
        concurrency=message.concurrency,
        max_batch=message.max_batch,
    )


def _tenant_to_message(value: Tenant) -> pb.Tenant:
    if isinstance(value, Occupant):
        return pb.Tenant(occupant=occupant_to_message(value))
    return pb.Tenant(unknown=pb.UnknownOccupant(cpu_millicores=value.cpu_millicores))


def _tenant_from_message(message: pb.Tenant) -> Tenant:
    match message.WhichOneof("kind"):
        case "occupant":
            return occupant_from_message(message.occupant)
        case "unknown":
            if message.unknown.cpu_millicores < 0:
                raise MessageRefused(f"tenant.unknown.cpu_millicores: {message.unknown.cpu_millicores} is negative")
            return UnknownOccupant(message.unknown.cpu_millicores)
        case _:
            raise MessageRefused("tenant: of no kind this version knows")

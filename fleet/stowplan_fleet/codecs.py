"""The contract's messages and the values they stand for, both ways.

What a value cannot express is refused by name: an unknown enum value (a newer peer), a number that is none, a missing part.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from stowplan.predictor.v1 import predictor_pb2 as pb

from stowplan_fleet import slices
from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason, unknown
from stowplan_fleet.devices import CoreThroughput, CpuDevice, Device, GpuDevice, GpuInstance
from stowplan_fleet.errors import DescriptorRefused, MessageRefused, SliceNameRefused
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Occupant, Question, Tenant, UnknownOccupant
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName, Slice, SliceClass, SliceKind

_KINDS: Final = {
    SliceKind.CPU: pb.SLICE_KIND_CPU,
    SliceKind.FULL: pb.SLICE_KIND_FULL,
    SliceKind.MIG: pb.SLICE_KIND_MIG,
    SliceKind.MPS: pb.SLICE_KIND_MPS,
    SliceKind.TIME: pb.SLICE_KIND_TIME,
}
_KINDS_BACK: Final = {number: kind for kind, number in _KINDS.items()}
_BASES: Final = {
    Basis.MEASURED: pb.BASIS_MEASURED,
    Basis.EXTRAPOLATED: pb.BASIS_EXTRAPOLATED,
    Basis.UNVALIDATED: pb.BASIS_UNVALIDATED,
    Basis.UNKNOWN: pb.BASIS_UNKNOWN,
}
_BASES_BACK: Final = {number: basis for basis, number in _BASES.items()}
_REASONS: Final = {reason: pb.UnknownReason.Value(f"UNKNOWN_REASON_{reason.name}") for reason in UnknownReason}
_REASONS_BACK: Final = {number: reason for reason, number in _REASONS.items()}
# A few devices and slices stand in all questions, again and again; reading them takes most of a small call's time.
_REMEMBERED_DEVICES: Final = 256
_REMEMBERED_CLASSES: Final = 4096
# A descriptor takes a kilobyte; what is much larger is not remembered.
_REMEMBERED_DEVICE_BYTES: Final = 16 << 10


def slice_class_to_message(value: SliceClass) -> pb.SliceClass:
    """The message of a slice class."""
    return pb.SliceClass(device=value.device, kind=_KINDS[value.slice.kind], profile=value.slice.profile)


def slice_class_from_message(message: pb.SliceClass) -> SliceClass:
    """The slice class of a message.

    Raises:
        MessageRefused: no kind, an unknown one, or a profile that does not fit it.
    """
    return _slice_class(message.device, message.kind, message.profile)


@lru_cache(_REMEMBERED_CLASSES)
def _slice_class(device: str, number: pb.SliceKind.ValueType, profile: str) -> SliceClass:
    kind = _KINDS_BACK.get(number)
    if kind is None:
        raise MessageRefused(f"slice_class.kind: {number} is no slice kind this version knows")
    try:
        return slices.parse_slice_class(f"{device}/{Slice(kind, profile)}")
    except SliceNameRefused as error:
        raise MessageRefused(f"slice_class: {error}") from error


@lru_cache(_REMEMBERED_DEVICES)
def device_to_message(value: Device) -> pb.Device:
    """The message of a device; where and when it was measured does not travel. The same message again for the same device: not to be changed."""
    if isinstance(value, GpuDevice):
        instances = [
            pb.MigInstance(profile=profile, multiprocessors=instance.multiprocessors or 0, memory_bytes=instance.memory_bytes or 0)
            for profile, instance in sorted(value.instances.items())
        ]
        return pb.Device(
            gpu=pb.GpuDevice(product=value.name, multiprocessors=value.multiprocessors or 0, memory_bytes=value.memory_bytes or 0, instances=instances)
        )
    return pb.Device(
        cpu=pb.CpuDevice(
            model=value.model,
            isa=value.isa,
            cores=value.cores,
            l1d_bytes=value.l1d_bytes,
            l2_bytes=value.l2_bytes,
            l3_bytes=value.l3_bytes,
            throughputs=[
                pb.CoreThroughput(cores=item.cores, flops_per_second=item.flops_per_second, bandwidth_bytes_per_second=item.bandwidth_bytes_per_second)
                for item in value.throughputs
            ],
            dispatch_us=dict(value.dispatch_us),
            fabricated=value.fabricated,
        )
    )


def device_from_message(name: str, message: pb.Device) -> Device:
    """The device of a message.

    Raises:
        MessageRefused: neither CPU nor GPU, or numbers that no device has.
    """
    raw = message.SerializeToString(deterministic=True)
    return _remembered_device(name, raw) if len(raw) <= _REMEMBERED_DEVICE_BYTES else _device(name, message)


@lru_cache(_REMEMBERED_DEVICES)
def _remembered_device(name: str, raw: bytes) -> Device:
    return _device(name, pb.Device.FromString(raw))


def _device(name: str, message: pb.Device) -> Device:
    device_name = DeviceName(name)
    if message.HasField("gpu"):
        gpu = message.gpu
        if min(gpu.memory_bytes, gpu.multiprocessors, *(min(item.memory_bytes, item.multiprocessors) for item in gpu.instances)) < 0:
            raise MessageRefused(f"devices[{name!r}]: memory_bytes and multiprocessors must not be negative")
        instances = {item.profile: GpuInstance(item.multiprocessors or None, item.memory_bytes or None) for item in gpu.instances}
        return GpuDevice(device_name, gpu.memory_bytes or None, gpu.multiprocessors or None, MappingProxyType(instances))
    if not message.HasField("cpu"):
        raise MessageRefused(f"devices[{name!r}]: neither a CPU nor a GPU this version knows")
    cpu = message.cpu
    try:
        return CpuDevice(
            name=device_name,
            model=cpu.model,
            isa=tuple(cpu.isa),
            cores=cpu.cores,
            l1d_bytes=cpu.l1d_bytes,
            l2_bytes=cpu.l2_bytes,
            l3_bytes=cpu.l3_bytes,
            throughputs=tuple(CoreThroughput(item.cores, item.flops_per_second, item.bandwidth_bytes_per_second) for item in cpu.throughputs),
            dispatch_us=MappingProxyType(dict(cpu.dispatch_us)),
            fabricated=cpu.fabricated,
        )
    except DescriptorRefused as error:
        raise MessageRefused(f"devices[{name!r}]: {error}") from error


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


def answer_to_message(value: Answer) -> pb.Answer:
    """The message of an answer; the bundle's name stands beside it, once for all answers."""
    return pb.Answer(
        basis=_BASES[value.basis],
        unknown_reason=_REASONS[value.unknown_reason] if value.unknown_reason else pb.UNKNOWN_REASON_UNSPECIFIED,
        message=value.message,
        isolated=_interval_to_message(value.isolated),
        colocated=_interval_to_message(value.colocated),
        response=_interval_to_message(value.response),
        utilization=value.utilization,
    )


def answer_from_message(message: pb.Answer, bundle: str = "") -> Answer:
    """The answer of a message. One whose numbers are none becomes an unknown answer that says so.

    Raises:
        MessageRefused: a basis or a reason this version does not know, or one without the other.
    """
    basis = _BASES_BACK.get(message.basis)
    if basis is None:
        raise MessageRefused(f"answer.basis: {message.basis} is no basis this version knows")
    if basis is Basis.UNKNOWN:
        reason = _REASONS_BACK.get(message.unknown_reason)
        if reason is None:
            raise MessageRefused(f"answer.unknown_reason: {message.unknown_reason} is no reason this version knows")
        return unknown(reason, message.message, bundle)
    if not _is_sound(message):
        return unknown(UnknownReason.PREDICTION_NOT_FINITE, "the predictor sent numbers that are no durations", bundle)
    return Answer(
        basis=basis,
        message=message.message,
        isolated=_interval_from_message(message.isolated) if message.HasField("isolated") else None,
        colocated=_interval_from_message(message.colocated) if message.HasField("colocated") else None,
        response=_interval_from_message(message.response) if message.HasField("response") else None,
        utilization=message.utilization if message.HasField("utilization") else None,
        bundle=bundle,
    )


def answers_from_message(message: pb.PredictResponse) -> list[Answer]:
    """The answers, in the order of the questions.

    Raises:
        MessageRefused: as `answer_from_message`.
    """
    return [answer_from_message(answer, message.bundle) for answer in message.answers]


def summary_to_message(value: GraphSummary) -> pb.AnalyzeGraphResponse:
    """The message of an analysis."""
    return pb.AnalyzeGraphResponse(
        graph_digest=value.graph_digest,
        model_digest=value.model_digest,
        operators=value.operators,
        kernels=value.kernels,
        flops=value.flops,
        parameters=value.parameters,
        parameter_bytes=value.parameter_bytes,
    )


def summary_from_message(message: pb.AnalyzeGraphResponse) -> GraphSummary:
    """The analysis of a message."""
    return GraphSummary(
        graph_digest=GraphDigest(message.graph_digest),
        model_digest=message.model_digest,
        operators=message.operators,
        kernels=message.kernels,
        flops=message.flops,
        parameters=message.parameters,
        parameter_bytes=message.parameter_bytes,
    )


def _interval_to_message(value: LatencyInterval | None) -> pb.LatencyInterval | None:
    if value is None:
        return None
    return pb.LatencyInterval(median_ms=value.median_ms, lower_ms=value.lower_ms, upper_ms=value.upper_ms, coverage=value.coverage)


def _interval_from_message(message: pb.LatencyInterval) -> LatencyInterval:
    return LatencyInterval(message.median_ms, message.lower_ms, message.upper_ms, message.coverage)


def _is_sound(message: pb.Answer) -> bool:
    intervals = [getattr(message, name) for name in ("isolated", "colocated", "response") if message.HasField(name)]
    ordered = all(math.isfinite(item.upper_ms) and 0 <= item.lower_ms <= item.median_ms <= item.upper_ms for item in intervals)
    covered = all(0 < item.coverage <= 1 for item in intervals)
    busy = not message.HasField("utilization") or (math.isfinite(message.utilization) and message.utilization >= 0)
    return ordered and covered and busy

"""Devices and their slice classes as messages. The few that every question names are read once and remembered."""

from functools import lru_cache
from types import MappingProxyType
from typing import Final

from stowplan.predictor.v1 import predictor_pb2 as pb

from stowplan_fleet import slices
from stowplan_fleet.devices import CoreThroughput, CpuDevice, Device, GpuDevice, GpuInstance
from stowplan_fleet.errors import DescriptorRefused, MessageRefused, SliceNameRefused
from stowplan_fleet.slices import DeviceName, Slice, SliceClass, SliceKind

_KINDS: Final = {
    SliceKind.CPU: pb.SLICE_KIND_CPU,
    SliceKind.FULL: pb.SLICE_KIND_FULL,
    SliceKind.MIG: pb.SLICE_KIND_MIG,
    SliceKind.MPS: pb.SLICE_KIND_MPS,
    SliceKind.TIME: pb.SLICE_KIND_TIME,
}
_KINDS_BACK: Final = {number: kind for kind, number in _KINDS.items()}
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

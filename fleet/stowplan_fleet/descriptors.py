"""Device descriptors as JSON: what `stowplan device -o json` prints and the ConfigMap holds."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from stowplan_fleet import slices
from stowplan_fleet.devices import CoreThroughput, CpuDevice, Provenance
from stowplan_fleet.errors import DescriptorRefused
from stowplan_fleet.slices import DeviceName

# Beyond these a number is a mistake of units, not a machine: the fastest CPU sockets of 2026 stay a hundred times below the upper ends,
# and a single core of 20 years ago is above the lower ones.
_FLOPS_BOUNDS: Final = (1e7, 1e16)
_BANDWIDTH_BOUNDS: Final = (1e7, 1e14)
_DISPATCH_US_MAX: Final = 1e6
_CACHE_BYTES_MAX: Final = 1 << 40
_SIZE_MAX_BYTES: Final = 1 << 20  # a ConfigMap holds no more


class _Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base: a misspelt key must not silently fall back to a default."""


class _Throughput(_Document, frozen=True):
    cores: int
    flops_per_second: float
    bandwidth_bytes_per_second: float


class _Provenance(_Document, frozen=True):
    host: str
    date: str
    versions: dict[str, str] = msgspec.field(default_factory=dict)


class _Descriptor(_Document, frozen=True):
    name: str
    model: str
    isa: list[str]
    cores: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    throughputs: list[_Throughput]
    dispatch_microseconds: dict[str, float]
    provenance: _Provenance | None = None
    fabricated: bool = False


def read_device(data: bytes, where: str = "device descriptor") -> CpuDevice:
    """Reads a descriptor.

    Args:
        data: JSON.
        where: file or key it comes from, for the message.

    Raises:
        DescriptorRefused: not a descriptor, incomplete or absurd; the message says where.
    """
    if len(data) > _SIZE_MAX_BYTES:
        raise DescriptorRefused(f"{where}: {len(data)} bytes; a descriptor has a few thousand")
    try:
        document = msgspec.json.decode(data, type=_Descriptor)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DescriptorRefused(f"{where}: {error}; write one with `stowplan device -o json`") from error
    _check(document, where)
    try:
        return CpuDevice(
            name=DeviceName(document.name),
            model=document.model,
            isa=tuple(document.isa),
            cores=document.cores,
            l1d_bytes=document.l1d_bytes,
            l2_bytes=document.l2_bytes,
            l3_bytes=document.l3_bytes,
            throughputs=tuple(CoreThroughput(item.cores, item.flops_per_second, item.bandwidth_bytes_per_second) for item in document.throughputs),
            dispatch_us=MappingProxyType(dict(document.dispatch_microseconds)),
            provenance=_provenance(document.provenance),
            fabricated=document.fabricated,
        )
    except DescriptorRefused as error:
        raise DescriptorRefused(f"{where}: {error}") from error


def write_device(device: CpuDevice) -> bytes:
    """A descriptor as indented JSON, with a newline at the end; `read_device` reads the same value back."""
    provenance = device.provenance
    document = _Descriptor(
        name=device.name,
        model=device.model,
        isa=list(device.isa),
        cores=device.cores,
        l1d_bytes=device.l1d_bytes,
        l2_bytes=device.l2_bytes,
        l3_bytes=device.l3_bytes,
        throughputs=[
            _Throughput(cores=item.cores, flops_per_second=item.flops_per_second, bandwidth_bytes_per_second=item.bandwidth_bytes_per_second)
            for item in device.throughputs
        ],
        dispatch_microseconds=dict(device.dispatch_us),
        provenance=_Provenance(host=provenance.host, date=provenance.date, versions=dict(provenance.versions)) if provenance else None,
        fabricated=device.fabricated,
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def read_devices(data: Mapping[str, str], where: str) -> tuple[dict[DeviceName, CpuDevice], list[str]]:
    """Reads the keys `<name>.json` of a ConfigMap; what is refused becomes a problem in words and touches no other key.

    Raises:
        Nothing.
    """
    return collect((f"{where}, key {key}", key.removesuffix(".json"), text.encode()) for key, text in data.items() if key.endswith(".json"))


def collect(documents: Iterable[tuple[str, str, bytes]]) -> tuple[dict[DeviceName, CpuDevice], list[str]]:
    """Reads descriptors given as (where, expected name, JSON); a name that differs from the expected one is a problem."""
    devices: dict[DeviceName, CpuDevice] = {}
    problems: list[str] = []
    for where, expected, data in documents:
        try:
            device = read_device(data, where)
        except DescriptorRefused as error:
            problems.append(str(error))
            continue
        if device.name != expected:
            problems.append(f"{where}: the descriptor inside is named {device.name!r}; name both alike")
        elif device.name in devices and devices[device.name] != device:
            problems.append(f"{where}: another descriptor of the same name was read before; remove one")
        else:
            devices[device.name] = device
    return devices, problems


def _provenance(document: _Provenance | None) -> Provenance | None:
    return None if document is None else Provenance(document.host, document.date, MappingProxyType(dict(document.versions)))


def _check(document: _Descriptor, where: str) -> None:
    if not slices.is_device_name(document.name):
        raise DescriptorRefused(f"{where}: name: {document.name[:64]!r} is not a label value; use letters, digits, dots, dashes, underscores")
    if document.isa != sorted(set(document.isa)):
        raise DescriptorRefused(f"{where}: isa: must be sorted, each extension once")
    for index, item in enumerate(document.throughputs):
        _bounded(item.flops_per_second, _FLOPS_BOUNDS, f"{where}: throughputs[{index}].flopsPerSecond")
        _bounded(item.bandwidth_bytes_per_second, _BANDWIDTH_BOUNDS, f"{where}: throughputs[{index}].bandwidthBytesPerSecond")
    for name, size in (("l1dBytes", document.l1d_bytes), ("l2Bytes", document.l2_bytes), ("l3Bytes", document.l3_bytes)):
        _bounded(size, (0, _CACHE_BYTES_MAX), f"{where}: {name}")
    for op_type, cost in document.dispatch_microseconds.items():
        _bounded(cost, (0, _DISPATCH_US_MAX), f"{where}: dispatchMicroseconds[{op_type[:64]!r}]")


def _bounded(value: float, bounds: tuple[float, float], path: str) -> None:
    if not math.isfinite(value) or not bounds[0] <= value <= bounds[1]:
        raise DescriptorRefused(f"{path}: {value} is not between {bounds[0]:g} and {bounds[1]:g}; measure again with `stowplan device`")

"""Devices: what a slice is cut from, described by resources and never by name alone."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from stowplan_fleet.errors import DescriptorRefused
from stowplan_fleet.slices import DeviceName


@dataclass(frozen=True, slots=True)
class CoreThroughput:
    """Sustained throughput of a CPU with a number of cores busy."""

    cores: int
    flops_per_second: float
    """Single-precision floating-point operations per second over those cores together."""
    bandwidth_bytes_per_second: float
    """Memory bandwidth over those cores together."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where and when a descriptor was taken."""

    host: str
    date: str
    """ISO 8601, UTC."""
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """Software that can change the numbers, by name."""


@dataclass(frozen=True, slots=True)
class CpuDevice:
    """A CPU as `stowplan device` measured it."""

    name: DeviceName
    model: str
    isa: tuple[str, ...]
    """Instruction-set extensions that matter to kernels, sorted, in Linux' spelling (`avx2`, `avx512f`)."""
    cores: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    throughputs: tuple[CoreThroughput, ...]
    """Ascending by cores, from one core up to all."""
    dispatch_us: Mapping[str, float] = field(hash=False)
    """Cost of dispatching one kernel of an operator type in the runtime, in microseconds, by operator type."""
    provenance: Provenance | None = field(default=None, hash=False)
    fabricated: bool = False
    """True where a person made the numbers up (a test cluster): no accuracy figure may rest on it."""

    def __post_init__(self) -> None:
        where = f"device {self.name!r}"
        if not 1 <= self.cores <= 1024:
            raise DescriptorRefused(f"{where}: {self.cores} cores; name between 1 and 1024")
        counts = [throughput.cores for throughput in self.throughputs]
        if not counts or counts[0] != 1 or counts != sorted(set(counts)) or counts[-1] > self.cores:
            raise DescriptorRefused(f"{where}: throughputs must ascend by cores from 1 to at most {self.cores}, got {counts}")
        sizes = (self.l1d_bytes, self.l2_bytes, self.l3_bytes)
        if any(size < 0 for size in sizes):
            raise DescriptorRefused(f"{where}: a cache size is negative: {sizes}")
        rates = [rate for item in self.throughputs for rate in (item.flops_per_second, item.bandwidth_bytes_per_second)]
        if not all(math.isfinite(rate) and rate > 0 for rate in rates):
            raise DescriptorRefused(f"{where}: throughputs must be finite and above zero; run `stowplan device` again")
        if not all(math.isfinite(cost) and cost >= 0 for cost in self.dispatch_us.values()):
            raise DescriptorRefused(f"{where}: dispatch costs must be finite and not negative; run `stowplan device` again")


@dataclass(frozen=True, slots=True)
class GpuInstance:
    """A kind of MIG instance as a node's labels describe it."""

    multiprocessors: int | None = None
    """None where the node does not say."""
    memory_bytes: int | None = None
    """None where the node does not say."""


_UNTOLD: Final = GpuInstance()


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """A GPU as its node's labels describe it."""

    name: DeviceName
    """The product as GPU-feature-discovery writes it."""
    memory_bytes: int | None = None
    """None where the node does not say: with MIG strategy `single` its labels describe the instances, not the GPU."""
    multiprocessors: int | None = None
    """None where the node does not say."""
    instances: Mapping[str, GpuInstance] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """What the node tells of its MIG instances, by profile in a resource's spelling (`1g.10gb`)."""


Device = CpuDevice | GpuDevice


def merged_gpus(found: Iterable[GpuDevice]) -> dict[DeviceName, GpuDevice]:
    """One device a product, from what many nodes say of theirs: every instance that any of them describes, and of two sizes the smaller.

    A slice class is one for the whole cluster, and which node takes a pod is decided later: what is judged must hold on each of them. (Instances of one
    profile do differ: an H100's `1g.24gb` has 26 multiprocessors or 16, by what else its GPU was cut into.)
    """
    merged: dict[DeviceName, GpuDevice] = {}
    for gpu in found:
        known = merged.get(gpu.name)
        merged[gpu.name] = gpu if known is None or known == gpu else _smaller(known, gpu)
    return merged


def _smaller(one: GpuDevice, other: GpuDevice) -> GpuDevice:
    instances = {
        profile: GpuInstance(_least(ours.multiprocessors, theirs.multiprocessors), _least(ours.memory_bytes, theirs.memory_bytes))
        for profile in sorted(one.instances.keys() | other.instances.keys())
        for ours, theirs in [(one.instances.get(profile, _UNTOLD), other.instances.get(profile, _UNTOLD))]
    }
    return GpuDevice(one.name, _least(one.memory_bytes, other.memory_bytes), _least(one.multiprocessors, other.multiprocessors), MappingProxyType(instances))


def _least(one: int | None, other: int | None) -> int | None:
    return min((size for size in (one, other) if size is not None), default=None)

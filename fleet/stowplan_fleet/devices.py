"""Devices: what a slice is cut from, described by resources and never by name alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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

"""What a slice of a CPU has to offer a network: threads, their sustained throughput, caches, and the share of the time it may use them."""

from dataclasses import dataclass

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import Slice, SliceKind

from stowplan_predictor.errors import CannotJudge


@dataclass(frozen=True, slots=True)
class SliceResources:
    """A CPU slice in physical terms."""

    millicores: int
    threads: int
    """Intra-operator threads: the cores of the slice, rounded up. They run at full speed until the quota is spent."""
    flops_per_second: float
    """Of `threads` cores together, while they run."""
    bandwidth_bytes_per_second: float
    l1d_bytes: int
    """Of one core."""
    l2_bytes: int
    """Of one core."""
    l3_bytes: int
    """Shared by all cores of the device."""

    @property
    def share(self) -> float:
        """Share of the time of its `threads` cores that the quota grants; 1 for whole cores."""
        return self.millicores / (1000 * self.threads)

    @property
    def fractional(self) -> bool:
        """True where a cgroup quota below its cores holds it back."""
        return self.millicores % 1000 != 0


def _throughput(device: CpuDevice, cores: int) -> CoreThroughput:
    """Measured throughput at a core count, linear in cores between two measured counts; never beyond the last one."""
    points = device.throughputs
    if cores > points[-1].cores:
        raise CannotJudge(
            UnknownReason.SLICE_NOT_SUPPORTED,
            f"device {device.name}: throughput was measured up to {points[-1].cores} cores, the slice has {cores}; run `stowplan device` there again",
        )
    above = next(point for point in points if point.cores >= cores)
    if above.cores == cores:
        return above
    below = next(point for point in reversed(points) if point.cores < cores)
    weight = (cores - below.cores) / (above.cores - below.cores)
    return CoreThroughput(
        cores,
        below.flops_per_second + weight * (above.flops_per_second - below.flops_per_second),
        below.bandwidth_bytes_per_second + weight * (above.bandwidth_bytes_per_second - below.bandwidth_bytes_per_second),
    )


def slice_resources(device: CpuDevice, which: Slice) -> SliceResources:
    """What a slice of that device has.

    Raises:
        CannotJudge: not a CPU slice, larger than the device, or beyond the core counts its descriptor was measured at.
    """
    if which.kind is not SliceKind.CPU:
        raise CannotJudge(UnknownReason.SLICE_NOT_SUPPORTED, f"{which} is no slice of a CPU, and device {device.name} is one; write cpu:1")
    if which.cpu_millicores > 1000 * device.cores:
        raise CannotJudge(UnknownReason.SLICE_NOT_SUPPORTED, f"{which} is larger than device {device.name}, which has {device.cores} cores")
    threads = -(-which.cpu_millicores // 1000)
    throughput = _throughput(device, threads)
    return SliceResources(
        millicores=which.cpu_millicores,
        threads=threads,
        flops_per_second=throughput.flops_per_second,
        bandwidth_bytes_per_second=throughput.bandwidth_bytes_per_second,
        l1d_bytes=device.l1d_bytes,
        l2_bytes=device.l2_bytes,
        l3_bytes=device.l3_bytes,
    )

"""What a network asks of the parts of a device that all its tenants share: memory bandwidth, last-level cache, execution units."""

from dataclasses import dataclass

from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.kernels.workloads import Workloads


@dataclass(frozen=True, slots=True)
class Demand:
    """Of one network while it runs."""

    traffic: float
    """Least memory traffic over the bandwidth of the whole device; may exceed 1 where caches serve it."""
    compute: float
    """FLOP/s over those of the whole device."""
    footprint: float
    """Weights and the largest working set of a kernel over the last-level cache, at most 1."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """What tenants do to the device together: their demands, each times the share of the time it is there. Sums over tenants."""

    busy: float = 0.0
    """Cores' worth of tenants that run at a time."""
    traffic: float = 0.0
    compute: float = 0.0
    footprint: float = 0.0

    def __add__(self, other: "Pressure") -> "Pressure":
        return Pressure(self.busy + other.busy, self.traffic + other.traffic, self.compute + other.compute, self.footprint + other.footprint)

    def scaled(self, factor: float) -> "Pressure":
        """That many of it."""
        return Pressure(self.busy * factor, self.traffic * factor, self.compute * factor, self.footprint * factor)


def demand(work: Workloads, busy_ms: float, device: CpuDevice) -> Demand:
    """Demand of a network that takes `busy_ms` for one inference while its threads run."""
    whole = device.throughputs[-1]
    seconds = busy_ms / 1000.0
    parameters = float(work.column("parameter_bytes").sum())
    largest = float((work.column("input_bytes") + work.column("output_bytes")).max(initial=0.0))
    return Demand(
        traffic=float(work.bytes.sum()) / seconds / whole.bandwidth_bytes_per_second,
        compute=float(work.column("flops").sum()) / seconds / whole.flops_per_second,
        footprint=min(1.0, (parameters + largest) / max(device.l3_bytes, 1)),
    )


def pressure(of: Demand, busy_share: float, threads: int) -> Pressure:
    """Pressure of a tenant with that demand that runs `busy_share` of the time on `threads` cores."""
    return Pressure(busy_share * threads, busy_share * of.traffic, busy_share * of.compute, busy_share * of.footprint)

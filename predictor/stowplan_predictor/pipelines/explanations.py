"""Which kernels a predicted latency is made of."""

from dataclasses import dataclass

from stowplan_predictor.kernels.latencies import Isolated
from stowplan_predictor.kernels.workloads import Workloads


@dataclass(frozen=True, slots=True)
class KernelShare:
    """One kernel's part of a network's isolated service time."""

    name: str
    """Of the operator that does the work."""
    type: str
    latency_ms: float
    """Dispatch included; all kernels of a network sum to its isolated service time."""
    share: float
    """Of that service time, 0 to 1."""
    flops: int
    bytes: int
    """Least memory traffic."""


def kernel_shares(work: Workloads, alone: Isolated) -> list[KernelShare]:
    """Every kernel, longest first."""
    flops, traffic = work.column("flops"), work.bytes
    shares = [
        KernelShare(work.names[i], work.types[i], float(ms), float(ms) / alone.median_ms, int(flops[i]), int(traffic[i]))
        for i, ms in enumerate(alone.kernel_ms)
    ]
    return sorted(shares, key=lambda item: -item.latency_ms)

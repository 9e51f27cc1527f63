"""Isolated service time of a network on a slice of a GPU: the sum of its kernels, and how sure that is.

Each kernel was timed alone, its launch included; no network was ever timed. Where a runtime launches ahead of the GPU, the sum is too long for networks of many
small kernels, never too short.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from stowplan_fleet.answers import UnknownReason

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.gpus.estimators import Estimate, FamilyTable, GpuTable
from stowplan_predictor.gpus.machines import Place
from stowplan_predictor.gpus.tasks import BYTES, Matrix, Network
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.latencies import Isolated
from stowplan_predictor.kernels.workloads import Workloads

# Types that are named; more would only fill the line.
_NAMED: Final = 6


@dataclass(frozen=True, slots=True)
class GpuRun:
    """A network alone on a slice of a GPU."""

    place: Place
    isolated: Isolated
    computing: float
    """Share of the whole GPU's multiprocessors, over time, that it holds while it runs alone."""
    traffic: float
    """Share of the bandwidth that the whole GPU reaches, over time, likewise."""

    @property
    def demand(self) -> float:
        """Of what it needs most."""
        return max(self.computing, self.traffic)


def check_memory(work: Workloads, where: Place) -> None:
    """Refuses what does not fit.

    Raises:
        CannotJudge: weights and the largest working set of a kernel are more than the slice's memory.
    """
    needed = float(work.column("network_bytes").max(initial=0.0))
    if needed > where.share.memory_bytes:
        raise CannotJudge(
            UnknownReason.SLICE_NOT_SUPPORTED,
            f"the network needs {needed / 2**30:.1f} GiB at least, a {where.share.slice} of a {where.share.product} has {where.share.memory_bytes / 2**30:.1f}",
        )


def run(network: Network, where: Place, estimate: Estimate, table: GpuTable) -> GpuRun:
    """Sums kernels to the service time on a slice.

    Args:
        network: its kernels.
        where: the slice.
        estimate: of the kernels there.
        table: what the bundle says about GPUs.

    Raises:
        CannotJudge: nothing in the network takes time, or the sum is no number of milliseconds.
    """
    total = float(estimate.part_ms.sum())
    if not (np.isfinite(total) and total > 0):
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"the sum over {len(estimate.part_ms)} kernels is {total} ms")
    kernel_ms = np.zeros(len(network.work.types))
    kernel_ms[network.positions] = estimate.part_ms
    share = estimate.part_ms / total
    interval = _interval(network, estimate, share, table)
    reasons = [estimate.known.reason] if estimate.known.reason else []
    if strange := _unmeasured(network, share):
        reasons.append(strange)
    if where.cut:
        interval += _between(total, estimate, where)
        reasons.append(f"no {where.share.slice} was measured: {where.share.multiprocessors} multiprocessors, their bandwidth and cache by physics")
    isolated = Isolated(total, interval, kernel_ms, total, tuple(reasons))
    computing = float((estimate.part_ms - estimate.launch_ms).sum()) / total * where.part.multiprocessors / where.whole.multiprocessors
    reached = where.whole.bandwidth_bytes_per_second * estimate.known.figures.stream
    traffic = float(network.tasks.column("bytes").sum()) / (total / 1e3) / reached
    return GpuRun(where, isolated, min(1.0, computing), min(1.0, traffic))


def _interval(network: Network, estimate: Estimate, share: Matrix, table: GpuTable) -> LogInterval:
    """Mean of the families' intervals by their share of the time: errors of one family go the same way, so nothing averages out."""
    lower = upper = 0.0
    kin = np.where(network.tasks.measured, estimate.families, BYTES)
    for family in set(kin.tolist()):
        weight = float(share[kin == family].sum())
        one = table.unmeasured if family == BYTES else _of(table.families[family], measured=estimate.known.measured)
        lower += weight * one.lower
        upper += weight * one.upper
    return LogInterval(lower, upper)


def _of(family: FamilyTable, *, measured: bool) -> LogInterval:
    return family.seen if measured else family.unseen


def _between(total: float, estimate: Estimate, where: Place) -> LogInterval:
    """A slice is no faster than the whole GPU, and no slower than in proportion to what it has least of."""
    whole = float(estimate.whole_ms.sum())
    least = min(
        where.part.multiprocessors / where.whole.multiprocessors, where.part.bandwidth_bytes_per_second / where.whole.bandwidth_bytes_per_second
    )  # fmt: skip
    return LogInterval(min(0.0, float(np.log(whole / total))), max(0.0, float(np.log(whole / least / total))))


def _unmeasured(network: Network, share: Matrix) -> str:
    strange = ~network.tasks.measured
    part = float(share[strange].sum())
    if part <= 0.0:
        return ""
    types = sorted({str(network.work.types[index]) for index in network.positions[strange]})
    named = ", ".join(types[:_NAMED]) + (f" and {len(types) - _NAMED} more" if len(types) > _NAMED else "")
    return f"{part:.0%} of the time is in kernels of which no like was measured ({named}): their roofline, or that of the matrix product they are"

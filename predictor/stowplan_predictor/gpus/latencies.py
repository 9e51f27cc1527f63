"""Isolated service time of a network on a slice of a GPU: the sum of its kernels, and how sure that is.

In a bundle of single kernels each was timed alone, its launch included: where a runtime launches ahead of the GPU, the sum is too long for networks of many
small kernels, never too short. A bundle that networks taught weighs kernels as they showed (`measurements`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.slices import SliceKind

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.gpus.estimators import Estimate, FamilyTable, GpuTable
from stowplan_predictor.gpus.machines import Place
from stowplan_predictor.gpus.measurements import NetworkLaw, kin
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
    law = table.networks
    part_ms, busy_ms, once_ms = _weighed(network, estimate, _busy_ms(estimate, where, law), law)
    total = float(part_ms.sum()) + once_ms
    if not (np.isfinite(total) and total > 0):
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"the sum over {len(part_ms)} kernels is {total} ms")
    kernel_ms = np.zeros(len(network.work.types))
    kernel_ms[network.positions] = part_ms
    share = estimate.part_ms / estimate.part_ms.sum()
    kernels = _interval(network, estimate, share, table)
    reasons = [estimate.known.reason] if estimate.known.reason else []
    learned = law is not None and law.product == where.whole.product
    interval = kernels if law is None else law.interval if learned else law.interval + kernels
    if not learned and (strange := _unmeasured(network, share)):
        reasons.append(strange)
    if law is not None and learned and law.part is not None and where.share.slice.kind is SliceKind.MPS:
        interval = law.part
    elif where.cut:
        whole_ms, _, _ = _weighed(network, estimate, np.maximum(0.0, estimate.whole_ms - estimate.launch_ms), law)
        interval += _between(total, float(whole_ms.sum()) + once_ms, where)
        reasons.append(f"no {where.share.slice} was measured: {where.share.multiprocessors} multiprocessors, their bandwidth and cache by physics")
    isolated = Isolated(total, interval, kernel_ms, total, tuple(reasons))
    computing = float(busy_ms.sum()) / total * where.part.multiprocessors / where.whole.multiprocessors
    reached = where.whole.bandwidth_bytes_per_second * estimate.known.figures.stream
    traffic = float(network.tasks.column("bytes").sum()) / (total / 1e3) / reached
    return GpuRun(where, isolated, min(1.0, computing), min(1.0, traffic))


def _busy_ms(estimate: Estimate, where: Place, law: NetworkLaw | None) -> Matrix:
    """Without launching, on the slice: by physics, or as far from the whole GPU's as measured shares are."""
    busy = estimate.part_ms - estimate.launch_ms
    if law is None or where.share.slice.kind is not SliceKind.MPS:
        return busy
    whole = np.maximum(estimate.whole_ms - estimate.launch_ms, 1e-12)
    return np.asarray(whole * np.maximum(busy / whole, 1.0) ** law.part_power)


def _weighed(network: Network, estimate: Estimate, busy_ms: Matrix, law: NetworkLaw | None) -> tuple[Matrix, Matrix, float]:
    """Milliseconds of each kernel, of them without launching, and what the call costs beside them."""
    if law is None:
        return busy_ms + estimate.launch_ms, busy_ms, 0.0
    families = kin(network, estimate.families)
    return law.weighed(families, busy_ms, estimate.launch_ms), law.weighed(families, busy_ms, np.zeros_like(busy_ms)), law.once_ms


def _interval(network: Network, estimate: Estimate, share: Matrix, table: GpuTable) -> LogInterval:
    """Mean of the families' intervals by their share of the time: errors of one family go the same way, so nothing averages out."""
    lower = upper = 0.0
    terms = np.where(network.tasks.measured, estimate.families, BYTES)
    for family in set(terms.tolist()):
        weight = float(share[terms == family].sum())
        one = table.unmeasured if family == BYTES else _of(table.families[family], measured=estimate.known.measured)
        lower += weight * one.lower
        upper += weight * one.upper
    return LogInterval(lower, upper)


def _of(family: FamilyTable, *, measured: bool) -> LogInterval:
    return family.seen if measured else family.unseen


def _between(total: float, whole: float, where: Place) -> LogInterval:
    """A slice is no faster than the whole GPU, and no slower than in proportion to what it has least of."""
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

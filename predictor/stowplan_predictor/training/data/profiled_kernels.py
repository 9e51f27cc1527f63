"""What the profiler saw of a network, as times of our kernels: less what profiling adds, of the profile that agrees best with the runs next to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.training.data.agreements import AGREEMENT
from stowplan_predictor.training.data.generated_rows import IsolatedRow
from stowplan_predictor.training.data.measurements import Profile, Visit
from stowplan_predictor.training.data.profiler_overheads import ProfilerOverhead
from stowplan_predictor.training.data.rows import KernelRow

# Where too few pairs of a profile and a run were measured to say what profiling adds.
_NO_OVERHEAD: Final = ProfilerOverhead(kernel_us=0.0, session_us=0.0, pairs=0, median_error_percent=0.0, uncorrected_median_error_percent=0.0)
# The visit to an isolated kernel that follows its profile in the same session; others have sessions, and buffers, of their own.
_BESIDE: Final = 3
# Share of an isolated kernel's run that must be its own for the run to tell its time.
_LEAST_OWN: Final = 0.5


@dataclass(frozen=True, slots=True)
class Homes:
    """Where the runtime's nodes belong."""

    owners: Mapping[str, int]
    """Operator that a runtime node does the work of."""
    kernels: Mapping[int, int]
    """Our kernel that an operator belongs to."""
    count: int
    """Of our kernels."""


def _kernel_ms(rows: Sequence[KernelRow], homes: Homes, overhead: ProfilerOverhead) -> tuple[NDArray[np.float64], float]:
    """The runtime's inserted nodes are counted with the kernel they serve."""
    times, unmatched = np.zeros(homes.count), 0.0
    for row in rows:
        milliseconds = overhead.corrected_us(row.median_us) / 1000
        operator = homes.owners.get(row.node)
        if operator is None or operator not in homes.kernels:
            unmatched += milliseconds
        else:
            times[homes.kernels[operator]] += milliseconds
    return np.where(times > 0, times, np.nan), unmatched


def _one(rows: Sequence[KernelRow], homes: Homes, overhead: ProfilerOverhead, visits: Sequence[Visit]) -> Profile:
    times, unmatched = _kernel_ms(rows, homes, overhead)
    session = max(0.0, overhead.session_us) / 1000
    beside = next((visit.median_ms for visit in visits if visit.repeat == rows[0].repeat), None)
    whole = float(np.nansum(times)) + unmatched + session
    return Profile(times, unmatched, session, None if beside is None else whole / beside)


def profile(rows: Sequence[KernelRow], homes: Homes, overhead: ProfilerOverhead | None, visits: Sequence[Visit]) -> Profile | None:
    """The best of a network's profiles on a slice: of those that agree with their own runs the quietest, else the one that agrees best; None without any.

    Args:
        rows: kernels of every profile there.
        homes: of the runtime's nodes.
        overhead: what profiling adds there; None where that is not known.
        visits: unprofiled ones, to that network on that slice.
    """
    by_repeat: dict[int, list[KernelRow]] = {}
    for row in rows:
        by_repeat.setdefault(row.repeat, []).append(row)
    found = [_one(some, homes, overhead or _NO_OVERHEAD, visits) for _, some in sorted(by_repeat.items())]

    def rank(item: Profile) -> tuple[int, float]:
        off = abs(item.ratio - 1) if item.ratio is not None else np.inf
        return (0, float(np.nansum(item.kernel_ms))) if off <= AGREEMENT else (1, off)

    return min(found, key=rank, default=None)


def isolated_profile(row: IsolatedRow, overhead: ProfilerOverhead | None, visits: Sequence[Visit]) -> Profile:
    """Of a graph of a single kernel: everything but the reorders that only a kernel on its own needs.

    Whether the profile agrees is judged by the run right after it, entry and exit included. The kernel's time is that of the quietest run less entry and exit,
    where those are the lesser part; else what the profiler said. Nothing is rescaled later.

    Args:
        row: the quietest visit.
        overhead: what profiling adds there; None where that is not known.
        visits: all of them.
    """
    known = overhead or _NO_OVERHEAD
    session = max(0.0, known.session_us)
    profiled = known.corrected_us(row.profiled_us, len(row.op_types))
    beside = next((1000 * visit.median_ms for visit in visits if visit.repeat == _BESIDE), row.median_us)
    own = row.median_us - session
    whole = own if own >= _LEAST_OWN * row.median_us else profiled
    return Profile(np.array([whole * row.kernel_us / row.profiled_us / 1000]), 0.0, session / 1000, (profiled + session) / beside, rescaled=False)

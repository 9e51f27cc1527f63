"""Whether what the profiler saw adds up to what a run takes without it: which profiles may teach, and how many may not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

# The bar: the sum of a network's kernels, less what the profiler adds to each, lies within this share of the median of the runs next to the profile.
AGREEMENT: Final = 0.05


class Profiled(Protocol):
    """A row of a network or of a random network."""

    @property
    def slice(self) -> str:
        """Where it ran."""

    @property
    def median_ms(self) -> float:
        """Without the profiler."""

    @property
    def kernels_sum_ms(self) -> float | None:
        """With it; None where no profile was taken next to this row."""

    @property
    def kernels_count(self) -> int | None:
        """Kernels that the runtime ran."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of profiles and of their kernels."""

    profiles: int
    kernels: int
    agreeing_profiles: int
    agreeing_kernels: int
    above: int
    """Profiles that sum to more than the bar allows."""
    below: int


def deviation(row: Profiled, overhead_us: float) -> float | None:
    """How much the corrected sum exceeds the median, as a share; None without a profile."""
    if row.kernels_sum_ms is None or row.kernels_count is None:
        return None
    return (row.kernels_sum_ms - row.kernels_count * overhead_us / 1e3) / row.median_ms - 1


def agreement(rows: Iterable[Profiled], overhead_us: Callable[[str], float]) -> Agreement:
    """Sums up profiles; `overhead_us` gives the microseconds that the profiler adds to a kernel on a slice."""
    found = [(row, share) for row in rows if (share := deviation(row, overhead_us(row.slice))) is not None]
    agreeing = [row for row, share in found if abs(share) <= AGREEMENT]
    return Agreement(
        profiles=len(found),
        kernels=sum(row.kernels_count or 0 for row, _ in found),
        agreeing_profiles=len(agreeing),
        agreeing_kernels=sum(row.kernels_count or 0 for row in agreeing),
        above=sum(share > AGREEMENT for _, share in found),
        below=sum(share < -AGREEMENT for _, share in found),
    )

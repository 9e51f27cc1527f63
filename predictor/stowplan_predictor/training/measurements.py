"""What was measured of one network on one slice: visits spread over time, and the profiled kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.resources import SliceResources

PROFILE_FACTOR: Final = 1.25


@dataclass(frozen=True, slots=True)
class Visit:
    """One independent measurement of a network on a slice: a fresh process, minutes or hours from the next one."""

    repeat: int
    median_ms: float
    p25_ms: float
    mean_ms: float
    cv: float
    """Standard deviation over mean."""
    noisy: bool


def quietest(visits: Sequence[Visit], *, fractional: bool) -> Visit:
    """The visit with the least lower quartile (on a fraction of a core the least mean): the host's other guests only ever slow a visit down.

    Raises:
        ValueError: no visit.
    """
    return min(visits, key=lambda visit: (visit.mean_ms if fractional else visit.p25_ms, visit.repeat))


@dataclass(frozen=True, slots=True)
class Measured:
    """One network on one slice."""

    slice_: SliceResources
    features: NDArray[np.float32]
    """(kernels, FEATURES)"""
    roofline_ms: NDArray[np.float64]
    kernel_ms: NDArray[np.float64] | None
    """Time of each of our kernels, NaN where the runtime ran nothing for it; None where no profile was taken."""
    unmatched_ms: float
    """Profiled time of runtime kernels that belong to none of ours."""
    profiled_kernels: int
    """Kernels that the runtime ran; 0 where no profile was taken."""
    profiled_repeat: int | None
    """The visit whose runs were taken next to the profile, in the same process; None where no profile was taken."""
    visits: tuple[Visit, ...]
    """End to end, without the profiler; empty where the network met this slice in a pair only."""

    @property
    def quietest(self) -> Visit:
        """`quietest` of all visits.

        Raises:
            ValueError: it was never measured alone here.
        """
        return quietest(self.visits, fractional=self.slice_.fractional)

    @property
    def noisy(self) -> bool:
        """True where even the quietest visit was marked noisy."""
        return self.quietest.noisy

    @property
    def truth_ms(self) -> float:
        """Median of the quietest visit; its mean where a quota makes single runs multimodal."""
        return self.quietest.mean_ms if self.slice_.fractional else self.quietest.median_ms

    @property
    def profiled_ms(self) -> float:
        """Sum of everything the profiler saw; 0 where no profile was taken."""
        return 0.0 if self.kernel_ms is None else float(np.nansum(self.kernel_ms)) + self.unmatched_ms

    @property
    def profile_ratio(self) -> float | None:
        """Profiled kernels over the unprofiled runs next to them; None where there is no profile or no such run."""
        if self.kernel_ms is None or not self.visits:
            return None
        beside = next((visit for visit in self.visits if visit.repeat == self.profiled_repeat), self.quietest)
        return self.profiled_ms / beside.median_ms

    @property
    def profile_agrees(self) -> bool:
        """Whether the profiled kernels sum to the unprofiled run within a factor of 1.25; kernels of a profile that does not agree train no model.

        The usual gap is a few percent; beyond a quarter the machine was slow during one of the two, or the profiler's microsecond a kernel
        outweighs the kernels.
        """
        ratio = self.profile_ratio
        return ratio is not None and 1 / PROFILE_FACTOR <= ratio <= PROFILE_FACTOR

"""What was measured of one network on one slice: visits spread over time, and the profiled kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.training.data.agreements import AGREEMENT

# Share of a run that its kernels hold at least, however small it is: the session's entry and exit vary.
_LEAST_KERNELS: Final = 0.2


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
class Profile:
    """One network on one slice, kernel by kernel."""

    kernel_ms: NDArray[np.float64]
    """Of each of our kernels, NaN where the runtime ran nothing for it."""
    unmatched_ms: float
    """Of runtime kernels that belong to none of ours."""
    session_ms: float
    """Entry and exit of a run, which no kernel holds."""
    ratio: float | None
    """All of that over the unprofiled run next to it; None where there was no such run."""
    rescaled: bool = True
    """Whether the kernels are to be brought to the network's truth: what slowed the machine during the profile slowed all of them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One network on one slice."""

    slice_: SliceResources
    features: NDArray[np.float32]
    """(kernels, FEATURES)"""
    roofline_ms: NDArray[np.float64]
    profile: Profile | None
    """None where no profile was taken."""
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
    def kernel_ms(self) -> NDArray[np.float64] | None:
        """Profiled time of each of our kernels, NaN where the runtime ran nothing for it; None where no profile was taken."""
        return None if self.profile is None else self.profile.kernel_ms

    @property
    def profiled_ms(self) -> float:
        """Sum of everything the profiler saw, less what profiling adds; 0 where no profile was taken."""
        return 0.0 if self.profile is None else float(np.nansum(self.profile.kernel_ms)) + self.profile.unmatched_ms

    @property
    def profile_agrees(self) -> bool:
        """Whether the profile adds up to the unprofiled run next to it; kernels of a profile that does not train no model."""
        return self.profile is not None and self.profile.ratio is not None and abs(self.profile.ratio - 1) <= AGREEMENT

    @property
    def profile_scale(self) -> float:
        """What profiled kernels are to be multiplied by so that they and the session add up to the truth; 1 for isolated kernels and without a profile."""
        if self.profile is None or not self.profile.rescaled or not self.visits:
            return 1.0
        return max(self.truth_ms - self.profile.session_ms, _LEAST_KERNELS * self.truth_ms) / self.profiled_ms

"""Measurements: what whole networks and neighbours on one GPU taught a bundle beyond single kernels; empty in bundles of single kernels.

* A network's time is a sum over its kernels in which each family has a weight: how much of it a compiler fuses away, what is launched ahead of the GPU. Weights
  are never negative, so that a larger network is never faster, and a faster GPU or a larger slice never slower.
* Neighbours slow each other by a share of what the published law says (`sharings`), and by something for being there at all, as pairs showed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.slices import SliceKind

from stowplan_predictor.gpus.sharings import Slowdown
from stowplan_predictor.gpus.tasks import BYTES, FAMILIES, LINEAR, Matrix, Network
from stowplan_predictor.kernels.intervals import LogInterval

LAUNCH: Final = "launch"
# Matrix products of another form than those that were measured: convolutions other than 3 x 3 with stride one.
PRODUCT: Final = "product"
TERMS: Final = (*FAMILIES, PRODUCT, BYTES, LAUNCH)
"""What is weighed: milliseconds that a family's kernels are busy (BYTES: of kinds nobody measured), and milliseconds of launching of all of them."""


@dataclass(frozen=True, slots=True)
class NetworkLaw:
    """From kernels to networks, as networks on one GPU showed."""

    product: str
    """The GPU."""
    weights: Mapping[str, float]
    """By TERMS, zero or above."""
    once_ms: float
    """What a call costs beside its kernels."""
    networks: int
    """That it was learned from."""
    interval: LogInterval
    """Of log(measured / predicted) on families of networks that were held out, on the whole GPU."""
    part: LogInterval | None
    """The same on MPS shares; None where too few were measured."""
    part_power: float = 1.0
    """How much slower kernels are on an MPS share, as a power of what physics says: below one where shares cost less than that."""

    def __post_init__(self) -> None:
        values = (*self.weights.values(), self.once_ms, self.part_power)
        if set(self.weights) != set(TERMS) or not all(np.isfinite(value) and value >= 0 for value in values) or not any(self.weights.values()):
            raise ValueError(f"weights of networks must be finite, not negative, not all zero, and name {', '.join(TERMS)}")

    def weighed(self, families: NDArray[np.str_], busy_ms: Matrix, launch_ms: Matrix) -> Matrix:
        """Milliseconds of each kernel; their sum and `once_ms` are the network's.

        Args:
            families: names of TERMS but LAUNCH, (kernels,).
            busy_ms: without launching, (kernels,).
            launch_ms: (kernels,).
        """
        weights = np.array([self.weights[str(family)] for family in families])
        return np.asarray(weights * busy_ms + self.weights[LAUNCH] * launch_ms)


def kin(network: Network, families: NDArray[np.str_]) -> NDArray[np.str_]:
    """The term that each kernel belongs to: its family where kernels of its form were measured, else PRODUCT or BYTES."""
    return np.where(network.tasks.measured, families, np.where(families == LINEAR, PRODUCT, BYTES))


@dataclass(frozen=True, slots=True)
class SharingLaw:
    """How one way of sharing turned out on one GPU."""

    product: str
    kind: SliceKind
    by_law: float
    """Slowdown beyond one for each that the published law says; zero or above."""
    by_busy: float
    """The same for each neighbour that never rests, whatever it uses; zero or above."""
    interval: LogInterval | None
    """Of log(measured / predicted) slowdowns on networks that were held out; None where there are too few pairs to tell."""
    pairs: int

    def __post_init__(self) -> None:
        if not all(np.isfinite(value) and value >= 0 for value in (self.by_law, self.by_busy)):
            raise ValueError(f"what {self.kind} sharing costs must be finite and not negative, got {self.by_law} and {self.by_busy}")

    def slowdown(self, law: Slowdown) -> Slowdown:
        """From the published law's factors to those of this GPU; without an interval of its own the law's upper end stays, where it is the higher one."""
        # The upper factor is that of taking turns: one, and how much of the time neighbours are busy.
        median = 1.0 + self.by_law * (law.median - 1.0) + self.by_busy * (law.upper - 1.0)
        return Slowdown(median, max(median, law.upper) if self.interval is None else median * float(np.exp(self.interval.upper)))


def doubt_of(law: SharingLaw | None, tenants: int) -> str:
    """Why a slowdown beside so many tenants is not validated; empty where it is."""
    if law is None:
        return "which was never checked on this GPU"
    if law.interval is None:
        return f"checked on {law.pairs} pairs on this GPU, too few for an interval"
    return f"checked beside one neighbour on this GPU and asked for beside {tenants}" if tenants > 1 else ""

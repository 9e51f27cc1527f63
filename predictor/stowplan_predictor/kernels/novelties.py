"""Where the training set ends: how far a network's kernels are from the nearest kernels of their type that were ever measured.

A range for each feature alone misses combinations that nobody measured (few channels, a huge image, each seen, never together). Here a kernel is a point in the
logarithms of its sizes; its gap is the distance to the nearest of some representative measured kernels of its type, as a mean log factor a size. Types differ
in how densely they were measured, so a gap counts in units of what kernels of that type in families held out during training lie apart. A network's novelty is
the mean over its kernels, weighted by predicted time. It is out of distribution where that exceeds what held-out networks show: the threshold is the quantile
of theirs that the bundle's table states, for the kind of networks (published, random) with the highest. Sizes only: how far the *device* is, `distances` says.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.workloads import Workloads

# Time in kernels of types that were never measured, as a share, from which a network is out of distribution: below it, even twice their predicted
# time moves the sum by less than two measurements of it differ.
UNMEASURED_SHARE: Final = 0.02
# Sizes that a kernel's efficiency depends on.
SIZES: Final = ("m", "n", "k", "groups", "window", "input_bytes", "output_bytes", "parameter_bytes")


@dataclass(frozen=True, slots=True)
class NoveltyTable:
    """What a bundle says about the reach of its training set."""

    file: str
    """NumPy array (points, 1 + len(SIZES)) float32: position in `types`, then the logarithms of SIZES."""
    types: tuple[str, ...]
    sizes: tuple[str, ...]
    """The order of columns; must be SIZES."""
    scales: tuple[float, ...]
    """By type: the gap that counts as one, as a mean log factor a size."""
    threshold: float
    """A network's novelty beyond which it is out of distribution."""
    quantile: float
    """Share of networks of held-out families that stay below the threshold, in every kind of networks."""
    typical_error_log: float
    """Widening of the interval for a network that is out of distribution: the 0.9 quantile of |log(measured / predicted)| of the most novel held-out tenth."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """What it means for an answer."""

    score: float
    log_factor: float = 0.0
    """By how much the interval widens on both sides, as a logarithm."""
    reasons: tuple[str, ...] = ()


def positions(work: Workloads) -> NDArray[np.float32]:
    """(kernels, len(SIZES)): logarithms; what is absent counts as one."""
    return np.log(np.maximum(np.column_stack([work.column(name) for name in SIZES]), 1.0)).astype(np.float32).reshape(len(work.types), len(SIZES))


def gaps(points: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float64]:
    """(points,): distance to the nearest known point, as a mean log factor a size.

    Args:
        points: (n, len(SIZES)).
        known: (m, len(SIZES)), m above zero.
    """
    squared = (points.astype(np.float64) ** 2).sum(1)[:, None] - 2.0 * points.astype(np.float64) @ known.astype(np.float64).T
    squared += (known.astype(np.float64) ** 2).sum(1)[None, :]
    return np.sqrt(np.maximum(squared.min(axis=1), 0.0) / points.shape[1])  # type: ignore[no-any-return]


class Novelties:
    """The reach of a training set, opened. Thread-safe: it is only read."""

    def __init__(self, table: NoveltyTable, content: bytes) -> None:
        """Reads the representative kernels.

        Raises:
            ValueError: the file is no such array, or was made for other sizes than this version computes.
        """
        try:
            points = np.load(io.BytesIO(content), allow_pickle=False)
        except EOFError as error:
            raise ValueError(f"{table.file}: empty or missing") from error
        if len(table.scales) != len(table.types) or not all(scale > 0 for scale in table.scales):
            raise ValueError(f"{table.file}: its table has no scale above zero for every type")
        if table.sizes != SIZES or points.ndim != 2 or points.shape[1] != 1 + len(SIZES) or not np.isfinite(points).all():
            raise ValueError(f"{table.file}: no array of kernel sizes as this version computes them")
        self.table = table
        self._scales = dict(zip(table.types, table.scales, strict=True))
        self._known = {name: np.ascontiguousarray(points[points[:, 0] == index, 1:]) for index, name in enumerate(table.types)}

    def kernel_gaps(self, work: Workloads) -> NDArray[np.float64]:
        """(kernels,): gap of each kernel, as a mean log factor a size; NaN for types that were never measured, which have a reason of their own."""
        types, points = work.types, positions(work)
        found = np.full(len(types), np.nan)
        names = np.array(types)
        for name in set(types):
            known = self._known.get(name)
            if known is not None and len(known):
                own = names == name
                found[own] = gaps(points[own], known)
        return found

    def score(self, work: Workloads, share: NDArray[np.float64]) -> float:
        """Novelty of a network: the mean over its kernels of measured types, weighted by their shares of its time."""
        scales = np.array([self._scales.get(name, np.nan) for name in work.types])
        return float(np.nansum(self.kernel_gaps(work) / scales * share))

    def of(self, work: Workloads, share: NDArray[np.float64]) -> Novelty:
        """What the novelty of a network means for its answer."""
        score, reasons = self.score(work, share), []
        strange = np.array([name not in self._known for name in work.types], dtype=np.bool_)
        if (part := float(share[strange].sum())) > UNMEASURED_SHARE:
            names = ", ".join(sorted({work.types[index] for index in np.flatnonzero(strange)}))
            reasons.append(f"out of distribution: {part:.0%} of the time is in kernels of types that were never measured: {names}")
        if score > self.table.threshold:
            far = float(np.exp(np.nansum(self.kernel_gaps(work) * share)))
            reasons.append(f"out of distribution: its kernels are a factor of {far:.2f} a size from the nearest measured ones")
        return Novelty(score, self.table.typical_error_log if reasons else 0.0, tuple(reasons))

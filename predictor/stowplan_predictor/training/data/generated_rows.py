"""Rows about generated graphs: random networks and isolated kernels. No structure is stored: it is drawn again from what a row names, and held against
the graph digest that the row carries.
"""

import math
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.errors import DatasetRefused

# What the runtime puts around kernels of its blocked layout.
INSERTED: Final = frozenset({"ReorderInput", "ReorderOutput"})


def _measured(where: str, numbers: dict[str, float]) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise DatasetRefused(f"{where}: {name} is {number}; it must be finite and above zero")


@dataclass(frozen=True, slots=True)
class GeneratedRow:
    """One visit to a generated graph alone on one slice, without the profiler; several visits, spread over a batch, make a measurement."""

    network: str
    """Its name: `kinds.name(kind, seed)`, or `iso-<round>-<number>`."""
    family: str
    """Held out together: the generator's configuration, or the family of the network that a kernel was cut out of; empty where it was cut out of none."""
    digest: str
    """Of the operator graph, `sha256:<hex>`."""
    slice: str
    repeat: int
    """Which visit, from 0."""
    threads: int
    runs: int
    cv: float
    """Standard deviation over mean."""
    foreign_share: float
    """CPU time of other processes around this visit, as a share of the time of all cores."""
    steal_share: float
    product_slowdown: float
    """A fixed matrix product before and after, the slower of both, over its best on this machine."""
    copy_slowdown: float
    """The same of a fixed copy in memory."""
    noisy: bool
    """True above one of the limits on the four columns before."""
    measured_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class RandomRow(GeneratedRow):
    """One visit to a random network."""

    kind: str
    """One of `kinds.KINDS`, and the network's split."""
    seed: int
    median_ms: float
    mean_ms: float
    p5_ms: float
    p25_ms: float
    kernels_sum_ms: float | None
    """Sum over kernels of the median profiled time; None where no profile was taken."""
    kernels_count: int | None
    """Kernels that the runtime executed; None where no profile was taken."""

    def __post_init__(self) -> None:
        _measured(f"random network {self.network} on {self.slice}", {"median_ms": self.median_ms, "p25_ms": self.p25_ms, "p5_ms": self.p5_ms})


@dataclass(frozen=True, slots=True)
class OptimizedRow:
    """What the runtime made of a generated graph that was profiled: it says which operators a profiled kernel is made of."""

    network: str
    """`kinds.name(kind, seed)`."""
    optimized: bytes
    """The ONNX file without weights; not compressed, since the table compresses rows that are alike together."""


@dataclass(frozen=True, slots=True)
class IsolatedRow(GeneratedRow):
    """One visit to a graph of a single kernel; the profiler saw it once for all visits."""

    kernel: str
    """Its type when it was planned."""
    spec: str
    """What it is drawn again from, as JSON (`single_kernels.structure`)."""
    median_us: float
    """A whole run of the session, entry and exit included."""
    p5_us: float
    p25_us: float
    op_types: tuple[str, ...]
    """Of the kernels that the runtime ran, in order; several where it inserted some or fused less than in the whole network."""
    kernels_us: tuple[float, ...]
    """The profiler's median of each."""

    def __post_init__(self) -> None:
        where = f"isolated kernel {self.network} on {self.slice}"
        _measured(where, {"median_us": self.median_us, "p25_us": self.p25_us, "profiled_us": self.profiled_us})
        if len(self.op_types) != len(self.kernels_us):
            raise DatasetRefused(f"{where}: {len(self.op_types)} types but {len(self.kernels_us)} times")

    @property
    def profiled_us(self) -> float:
        """Everything that the profiler saw."""
        return sum(self.kernels_us)

    @property
    def kernel_us(self) -> float:
        """What the profiler saw without the reorders that only a kernel on its own needs: inside a network its neighbours use the same layout."""
        return sum(time for op_type, time in zip(self.op_types, self.kernels_us, strict=True) if op_type not in INSERTED)

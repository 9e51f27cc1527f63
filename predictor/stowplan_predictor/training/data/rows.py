"""Rows of a measured data set: one record of one real measurement each, in plain values with units in their names.

`repeat` numbers measurements of the same thing. Tens are visits (`measuring.visits`) by fresh processes, minutes or hours apart: 10 the first, profiled;
20, 30 and 40 later ones. Below ten: longer sample sets, taken again while disturbed; 0 the first, 1 a retest, 2 and 3 taken before sample
sets were bracketed by a look at the machine itself (`product_slowdown` is then None): noisier, and kept.
`noisy` marks a record that stayed above the limits on foreign load or variation after every allowed attempt: it is kept and marked, never dropped.
"""

import math
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.errors import DatasetRefused

# Shares of the distribution that the `quantiles` lists hold: 21 points, 0 % to 100 % in steps of 5 %.
QUANTILE_POINTS: Final = tuple(point / 20 for point in range(21))
# Where a network comes from. `light`: the nine light models of the onnx package, judgement only, never trained on.
SPLITS: Final = ("zoo", "random", "light")


def _positive(where: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise DatasetRefused(f"{where}: {name} is {number}; it must be finite and above zero")


def _quantiles(where: str, name: str, values: tuple[float, ...]) -> None:
    if len(values) != len(QUANTILE_POINTS) or any(not math.isfinite(value) or value < 0 for value in values) or list(values) != sorted(values):
        raise DatasetRefused(f"{where}: {name} must be {len(QUANTILE_POINTS)} finite ascending values")


@dataclass(frozen=True, slots=True)
class StructureRow:
    """A network as it was measured, without its weights."""

    network: str
    """Unique name, such as `resnet18-b1-s224`."""
    family: str
    """Networks of one family are alike; they are held out together."""
    split: str
    """One of `SPLITS`."""
    source: str
    """Library and version that the network comes from, such as `torchvision 0.28.0`."""
    batch: int
    input_names: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    """Bound shape of each input, in the order of `input_names`."""
    structure: bytes
    """The ONNX file without weights, gzipped (`measuring.structures.pack`, `unpack`)."""
    optimized: bytes
    """What the runtime made of it at its highest optimisation level, without weights, gzipped; empty where it could not be saved."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise DatasetRefused(f"structure {self.network}: split {self.split!r} is none of {', '.join(SPLITS)}")
        if len(self.input_names) != len(self.input_shapes):
            raise DatasetRefused(f"structure {self.network}: {len(self.input_names)} input names but {len(self.input_shapes)} shapes")


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """End-to-end latency of one network alone on one slice, without the profiler."""

    network: str
    slice: str
    """`cpu:1`, `cpu:2`, `cpu:500m`."""
    repeat: int
    threads: int
    """Intra-operator threads."""
    runs: int
    warmup_runs: int
    median_ms: float
    mean_ms: float
    p5_ms: float
    p25_ms: float
    p75_ms: float
    p95_ms: float
    p99_ms: float
    cv: float
    """Standard deviation over mean."""
    quantiles_ms: tuple[float, ...]
    """At `QUANTILE_POINTS`."""
    foreign_share: float
    """CPU time that other processes used during the sample window, as a share of the window's time over all cores."""
    steal_share: float
    """Time stolen by the hypervisor, same share."""
    attempts: int
    """Sample sets (visits: bursts) that were taken; the least disturbed one (visits: the one with the least lower quartile) is this."""
    noisy: bool
    kernels_sum_ms: float | None
    """Sum over kernels of the median profiled time; None where no profile was taken in this repeat. Tells what profiling overstates."""
    kernels_count: int | None
    """Kernels that the runtime executed."""
    measured_at: str
    """ISO 8601, UTC."""
    product_slowdown: float | None = None
    """A fixed matrix product right before and after (visits: before), the slower of both, over its best here: the host's other guests show here only."""
    copy_slowdown: float | None = None
    """The same of a fixed copy in memory."""

    def __post_init__(self) -> None:
        where = f"network {self.network} on {self.slice}"
        _positive(where, median_ms=self.median_ms, mean_ms=self.mean_ms, p99_ms=self.p99_ms, runs=self.runs, threads=self.threads)
        _quantiles(where, "quantiles_ms", self.quantiles_ms)


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Time of one kernel that the runtime really ran, from its profiler (which overstates tiny kernels by about a microsecond)."""

    network: str
    slice: str
    position: int
    """Order of execution within one run, from 0."""
    node: str
    """Name of the node in the optimised graph."""
    op_type: str
    domain: str
    """`com.microsoft.nchwc` for blocked kernels; empty for the default ONNX domain."""
    outputs: tuple[str, ...]
    """Tensor names as the optimised graph writes them; empty where the profiler named a node that the saved graph does not have."""
    provider: str
    median_us: float
    p25_us: float
    p75_us: float
    runs: int
    repeat: int = 0
    """Of the network row whose runs were taken next to this profile, in the same process."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.median_us) and self.median_us >= 0):
            raise DatasetRefused(f"kernel {self.node} of {self.network} on {self.slice}: median_us is {self.median_us}")


@dataclass(frozen=True, slots=True)
class PairRow:
    """Service time of one network in closed loop beside another in closed loop, against itself alone moments before and after. Two rows a pair."""

    network: str
    slice: str
    tenant: str
    tenant_slice: str
    alone_ms: float
    """Median, moments before `beside_ms`."""
    beside_ms: float
    """Median while the tenant ran without pause."""
    ratio: float
    """The degradation: beside over alone (before and after), the median over rounds; 1 is none."""
    beside_p95_ms: float
    alone_p95_ms: float
    runs_alone: int
    runs_beside: int
    drift: float
    """Alone after over alone before; far from 1 means that the machine changed in between."""
    spread: float
    """Upper quartile of the ratios less the lower one, over rounds: how sure `ratio` (their median) is."""
    foreign_share: float
    steal_share: float
    rounds: int
    noisy: bool
    measured_at: str

    def __post_init__(self) -> None:
        _positive(f"pair {self.network} beside {self.tenant}", alone_ms=self.alone_ms, beside_ms=self.beside_ms, ratio=self.ratio, drift=self.drift)


@dataclass(frozen=True, slots=True)
class LoadRow:
    """Response time of a real server process under open-loop Poisson arrivals, from the scheduled arrival to the answer's receipt."""

    network: str
    slice: str
    requests_per_second: float
    """Rate of the arrivals that were drawn."""
    target_utilization: float
    """Share of the time the server was meant to be busy: rate times `service_mean_ms`."""
    concurrency: int
    seed: int
    """Of the arrival times."""
    requests: int
    duration_s: float
    service_mean_ms: float
    """Closed-loop service time as the generator sees it (wire and server overhead included), taken in the same session."""
    service_cv: float
    inference_mean_ms: float
    """Time inside the runtime during the load, as the server counted it."""
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    quantiles_ms: tuple[float, ...]
    """At `QUANTILE_POINTS`."""
    foreign_share: float
    steal_share: float
    attempts: int
    noisy: bool
    measured_at: str

    def __post_init__(self) -> None:
        where = f"load on {self.network} at {self.target_utilization}"
        _positive(where, requests_per_second=self.requests_per_second, service_mean_ms=self.service_mean_ms, p95_ms=self.p95_ms, requests=self.requests)
        _quantiles(where, "quantiles_ms", self.quantiles_ms)

"""Rows of a GPU data set: one record of one real measurement on a CUDA device each. Nothing else is ever written into these tables.

`partition` is what of the GPU was used: `full`, `mps-25` (an active-thread percentage), `green-25` (a green context of about that percentage) or
`mig-1g.10gb`. `multiprocessors` is what CUDA said then, not what a table says (of a green context: what it was made with). Weights and inputs are random,
from fixed seeds; precision is float32 without TF32.
"""

import math
from dataclasses import dataclass

from stowplan_predictor.errors import DatasetRefused


def _positive(where: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise DatasetRefused(f"{where}: {name} is {number}; it must be finite and above zero")


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """A network, or a block of random kernels, from end to end."""

    unit: str
    """Key of the unit of work that measured it."""
    network: str
    family: str
    runtime: str
    """`torch-inductor` or `torch-eager`."""
    partition: str
    multiprocessors: int
    batch: int
    wall_ms: float
    """Median of one request at a time: from the call until the device is idle, launching included."""
    wall_p5_ms: float
    wall_p95_ms: float
    device_ms: float
    """Median between two events of the device, back to back."""
    device_p5_ms: float
    device_p95_ms: float
    device_method: str
    """`cuda-graph` (replays, no launching) or `events`, with the reason why not a graph in `note`."""
    runs: int
    steady: bool
    """Three windows in a row agreed within 2 % before anything was counted."""
    clock_mhz: float | None
    """Of the multiprocessors, at the end; None where the driver does not tell."""
    compile_s: float | None
    kernels: int | None
    """That the compiler made, or the runtime ran; None where the profiler could not be used."""
    output_sum: float
    """Of all outputs: the same network on another partition must come to the same."""
    output_abs_sum: float
    note: str
    measured_at: str

    def __post_init__(self) -> None:
        _positive(self.unit, wall_ms=self.wall_ms, device_ms=self.device_ms, runs=self.runs, multiprocessors=self.multiprocessors)


@dataclass(frozen=True, slots=True)
class KernelRow:
    """A kernel of a network: which operators it holds by the compiler's own word, and how long it took on the whole GPU."""

    unit: str
    network: str
    runtime: str
    graph: int
    """Number of the compiled graph; networks with graph breaks have several."""
    position: int
    """In the order in which the compiler calls kernels."""
    name: str
    source: str
    """`compiler` (generated) or `library` (cuDNN, cuBLAS, ATen)."""
    operators: tuple[str, ...]
    """ATen operators in it."""
    nodes: tuple[str, ...]
    """Names of those operators in the graph, as `NodeRow.name`; empty for eager."""
    shapes: str
    """Of inputs, as JSON: `dims`, and `values` of what is no tensor; eager only (a compiled kernel's shapes are its nodes')."""
    launches: tuple[str, ...]
    """Names of the CUDA kernels that it launched in one run, in order; empty where the profiler's record could not be told apart."""
    median_us: float | None
    p25_us: float | None
    p75_us: float | None
    runs: int

    def __post_init__(self) -> None:
        if self.median_us is not None:
            _positive(self.unit, median_us=self.median_us, runs=self.runs)


@dataclass(frozen=True, slots=True)
class NodeRow:
    """An operator of a compiled graph, after the compiler's own rewriting."""

    unit: str
    network: str
    graph: int
    name: str
    target: str
    """ATen operator, or `placeholder`."""
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    arguments: str
    """As the compiler prints them: names of nodes, and what is no tensor (strides, padding, groups, scalars)."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """A network beside others that never rest, each in a process of its own."""

    unit: str
    subject: str
    neighbour: str
    neighbours: int
    runtime: str
    sharing: str
    """`mps-50` and the like, or `time-2`: no MPS, so that processes take turns."""
    multiprocessors: int
    alone_ms: float
    """Median wall time of one request under the same partition with nobody beside it, right before."""
    beside_ms: float
    beside_p95_ms: float
    alone_again_ms: float
    """Right after: how far the two differ is the noise."""
    runs: int
    neighbour_requests_per_second: float
    measured_at: str

    def __post_init__(self) -> None:
        _positive(self.unit, alone_ms=self.alone_ms, beside_ms=self.beside_ms, alone_again_ms=self.alone_again_ms, runs=self.runs)


AnyRow = NetworkRow | KernelRow | NodeRow | PairRow
TABLES: dict[str, type[AnyRow]] = {"networks": NetworkRow, "kernels": KernelRow, "nodes": NodeRow, "pairs": PairRow}

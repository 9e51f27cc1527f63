"""Measured networks as training sees them: kernels and features from the code that serves, times from the data set, joined by what the runtime really ran."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import parse_slice

from stowplan_predictor.fusion import rules, truths
from stowplan_predictor.graphs import loading
from stowplan_predictor.kernels.features import feature_matrix
from stowplan_predictor.kernels.resources import SliceResources, slice_resources
from stowplan_predictor.kernels.rooflines import roofline_ms
from stowplan_predictor.kernels.workloads import Workloads, workloads
from stowplan_predictor.measuring import structures
from stowplan_predictor.training.datasets import Dataset
from stowplan_predictor.training.rows import KernelRow, NetworkRow, StructureRow

# Pairs are judged by what is predicted of both networks alone on this slice, whether or not they were measured alone in the data set.
PAIR_SLICE: Final = "cpu:1"
PROFILE_FACTOR: Final = 1.25


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
    rows: tuple[NetworkRow, ...]
    """Repeats, end to end; empty where the network met this slice in a pair only."""

    @property
    def best_rows(self) -> tuple[NetworkRow, ...]:
        """The repeats disturbed least: quiet ones bracketed by looks at the machine, else bracketed ones, else all. None is dropped for its value."""
        bracketed = tuple(row for row in self.rows if row.product_slowdown is not None)
        return tuple(row for row in bracketed if not row.noisy) or bracketed or self.rows

    @property
    def noisy(self) -> bool:
        """True where nothing quiet was measured."""
        return any(row.noisy for row in self.best_rows)

    @property
    def truth_ms(self) -> float:
        """Geometric mean over the best repeats: of the medians on whole cores, of the means where a quota makes single runs multimodal."""
        values = [row.mean_ms if self.slice_.fractional else row.median_ms for row in self.best_rows]
        return float(np.exp(np.mean(np.log(values))))

    @property
    def profiled_ms(self) -> float:
        """Sum of everything the profiler saw; 0 where no profile was taken."""
        return 0.0 if self.kernel_ms is None else float(np.nansum(self.kernel_ms)) + self.unmatched_ms

    @property
    def profile_agrees(self) -> bool:
        """Whether the profiled kernels sum to the unprofiled run within a factor of 1.25; kernels of a profile that does not agree train no model.

        The usual gap is a few percent; beyond a quarter the machine was slow during one of the two, or the profiler's microsecond a kernel
        outweighs the kernels.
        """
        if self.kernel_ms is None or not self.rows:
            return False
        return 1 / PROFILE_FACTOR <= self.profiled_ms / self.truth_ms <= PROFILE_FACTOR


@dataclass(frozen=True, slots=True)
class Sample:
    """One network."""

    name: str
    family: str
    split: str
    source: str
    digest: GraphDigest
    work: Workloads
    flops: int
    parameters: int
    measured: Mapping[str, Measured]
    """By slice, as its text."""


@dataclass(frozen=True, slots=True)
class Samples:
    """All networks of a data set on one device."""

    device: CpuDevice
    networks: Mapping[str, Sample]
    refused: Mapping[str, str] = field(default_factory=dict)
    """Networks our reader does not take, with the reason: each is a failed prediction, not a forgotten one."""


def _kernel_ms(owners: Mapping[str, int], home: Mapping[int, int], count: int, rows: Sequence[KernelRow]) -> tuple[NDArray[np.float64], float]:
    """Time of each of our kernels, the runtime's inserted nodes counted with the kernel they serve, and what belongs to none."""
    times, unmatched = np.zeros(count), 0.0
    for row in rows:
        operator = owners.get(row.node)
        if operator is None or operator not in home:
            unmatched += row.median_us / 1000
        else:
            times[home[operator]] += row.median_us / 1000
    return np.where(times > 0, times, np.nan), unmatched


def _sample(structure: StructureRow, networks: Sequence[NetworkRow], kernel_rows: Sequence[KernelRow], device: CpuDevice) -> Sample:
    graph = loading.load_graph(structures.unpack(structure.structure), dict(zip(structure.input_names, structure.input_shapes, strict=True)))
    kernels = rules.fuse(graph)
    work = workloads(graph, kernels)
    home = {operator: kernel.index for kernel in kernels for operator in kernel.operators}
    owners = truths.read_truth(graph, structures.unpack(structure.optimized)).owners if structure.optimized else {}
    measured = {}
    for name in sorted({PAIR_SLICE} | {row.slice for row in networks}):
        slice_ = slice_resources(device, parse_slice(name))
        rows = [row for row in kernel_rows if row.slice == name]
        times, unmatched = _kernel_ms(owners, home, len(kernels), rows) if rows and owners else (None, 0.0)
        repeats = tuple(sorted((row for row in networks if row.slice == name), key=lambda row: row.repeat))
        measured[name] = Measured(slice_, feature_matrix(work, slice_), roofline_ms(work, slice_), times, unmatched, repeats)
    return Sample(
        structure.network, structure.family, structure.split, structure.source, graph.digest, work, graph.flops, graph.parameters, measured
    )  # fmt: skip


def samples(dataset: Dataset, device: CpuDevice) -> Samples:
    """Every measured network, analysed by the code that serves."""
    networks: dict[str, list[NetworkRow]] = {}
    kernels: dict[str, list[KernelRow]] = {}
    for network in dataset.networks:
        networks.setdefault(network.network, []).append(network)
    for kernel in dataset.kernels:
        kernels.setdefault(kernel.network, []).append(kernel)
    found, refused = {}, {}
    paired = {name for row in dataset.pairs for name in (row.network, row.tenant)}
    for name in sorted(networks.keys() | paired):
        try:
            found[name] = _sample(dataset.structures[name], networks.get(name, []), kernels.get(name, []), device)
        except GraphRefused as error:
            refused[name] = str(error)
    return Samples(device, found, refused)

"""Measured networks as training sees them: graph, kernels and features from the code that serves, times from the data set, joined by what the runtime ran.

Reading runs in two processes: every structure goes through the reader, the fusion and the features that serve.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import parse_slice

from stowplan_predictor.fusion import rules, truths
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.graphs import loading
from stowplan_predictor.graphs.opgraphs import OpGraph
from stowplan_predictor.kernels.features import feature_matrix
from stowplan_predictor.kernels.resources import slice_resources
from stowplan_predictor.kernels.rooflines import roofline_ms
from stowplan_predictor.kernels.workloads import Workloads, workloads
from stowplan_predictor.measuring import structures
from stowplan_predictor.training.datasets import Dataset
from stowplan_predictor.training.measurements import Measured, Visit
from stowplan_predictor.training.rows import KernelRow, NetworkRow, StructureRow

# Pairs are judged by what is predicted of both networks alone on this slice, whether or not they were measured alone in the data set.
PAIR_SLICE: Final = "cpu:1"
# Starting a second process costs two seconds; below this many networks it is not worth it.
_ALONE: Final = 64
_CHUNK: Final = 32


@dataclass(frozen=True, slots=True)
class Sample:
    """One network."""

    name: str
    family: str
    split: str
    """`zoo`, `light` (judgement only), `random`, `fnn`, `cnn`, or `isolated` (its kernels train; it is no network to judge)."""
    source: str
    digest: GraphDigest
    graph: OpGraph
    kernels: tuple[Kernel, ...]
    """The fusion groups that our server uses."""
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


@dataclass(frozen=True, slots=True)
class _Job:
    """One network to read."""

    structure: StructureRow
    visits: Mapping[str, tuple[Visit, ...]]
    """By slice."""
    kernels: tuple[KernelRow, ...]
    device: bytes
    """Its descriptor: the device itself does not travel between processes."""


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


@lru_cache(maxsize=8)
def _device(descriptor: bytes) -> CpuDevice:
    device = descriptors.read_device(descriptor)
    if not isinstance(device, CpuDevice):
        raise TypeError(f"{device.name} is no CPU")
    return device


def _sample(job: _Job) -> Sample:
    structure, device = job.structure, _device(job.device)
    graph = loading.load_graph(structures.unpack(structure.structure), dict(zip(structure.input_names, structure.input_shapes, strict=True)))
    kernels = rules.fuse(graph)
    work = workloads(graph, kernels)
    home = {operator: kernel.index for kernel in kernels for operator in kernel.operators}
    owners = truths.read_truth(graph, structures.unpack(structure.optimized)).owners if structure.optimized else {}
    measured = {}
    for name in sorted({PAIR_SLICE} | job.visits.keys()):
        slice_ = slice_resources(device, parse_slice(name))
        rows = [row for row in job.kernels if row.slice == name]
        times, unmatched = _kernel_ms(owners, home, len(kernels), rows) if rows and owners else (None, 0.0)
        measured[name] = Measured(slice_, feature_matrix(work, slice_), roofline_ms(work, slice_), times, unmatched, job.visits.get(name, ()))
    return Sample(
        structure.network, structure.family, structure.split, structure.source, graph.digest, graph, kernels, work, graph.flops, graph.parameters, measured
    )  # fmt: skip


def _outcome(job: _Job) -> Sample | str:
    try:
        return _sample(job)
    except GraphRefused as error:
        return str(error)


def _visit(row: NetworkRow) -> Visit:
    return Visit(row.repeat, row.median_ms, row.p25_ms, row.mean_ms, row.cv, row.noisy)


def _by_slice(rows: Sequence[NetworkRow]) -> dict[str, tuple[Visit, ...]]:
    names = sorted({row.slice for row in rows})
    return {name: tuple(_visit(row) for row in sorted(rows, key=lambda row: row.repeat) if row.slice == name) for name in names}


def _jobs(dataset: Dataset, device: CpuDevice) -> dict[str, _Job]:
    networks: dict[str, list[NetworkRow]] = {}
    kernels: dict[str, list[KernelRow]] = {}
    for network in dataset.networks:
        networks.setdefault(network.network, []).append(network)
    for kernel in dataset.kernels:
        kernels.setdefault(kernel.network, []).append(kernel)
    descriptor = descriptors.write_device(device)
    paired = {name for row in dataset.pairs for name in (row.network, row.tenant)}
    return {
        name: _Job(dataset.structures[name], _by_slice(networks.get(name, ())), tuple(kernels.get(name, ())), descriptor)
        for name in sorted(networks.keys() | paired)
    }  # fmt: skip


def _outcomes(jobs: Sequence[_Job]) -> list[Sample | str]:
    """Results in the order of the jobs; in two processes where there are many."""
    if len(jobs) < _ALONE:
        return [_outcome(job) for job in jobs]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_outcome, jobs, chunksize=_CHUNK))


def samples(dataset: Dataset, device: CpuDevice) -> Samples:
    """Every measured network, analysed by the code that serves."""
    jobs = _jobs(dataset, device)
    outcomes = dict(zip(jobs, _outcomes(list(jobs.values())), strict=True))
    found = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Sample)}
    return Samples(device, found, {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, str)})

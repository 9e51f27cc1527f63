"""Measured networks as training sees them: graph, kernels and features from the code that serves, times from the data set, joined by what the runtime ran.

Reading runs in two processes: every structure goes through the reader, the fusion and the features that serve.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from typing import Final

from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import parse_slice

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.fusion import layouts, rules, truths
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.graphs import loading
from stowplan_predictor.graphs.opgraphs import OpGraph
from stowplan_predictor.kernels.features import feature_matrix
from stowplan_predictor.kernels.resources import slice_resources
from stowplan_predictor.kernels.rooflines import roofline_ms
from stowplan_predictor.kernels.workloads import Workloads, workloads
from stowplan_predictor.measuring import structures
from stowplan_predictor.training.data import profiler_overheads
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.generated_rows import IsolatedRow, RandomRow
from stowplan_predictor.training.data.kernel_types import runtime_types
from stowplan_predictor.training.data.measurements import Measured, Profile, Visit
from stowplan_predictor.training.data.profiled_kernels import Homes, isolated_profile, profile
from stowplan_predictor.training.data.profiler_overheads import ProfilerOverhead
from stowplan_predictor.training.data.rows import KernelRow, NetworkRow
from stowplan_predictor.training.generated import kinds as random_kinds
from stowplan_predictor.training.generated import single_kernels as isolated_specs

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
    runtime_types: tuple[str, ...]
    """What the runtime ran for each kernel, `Conv/com.microsoft.nchwc`; empty where nothing, or where no profile was taken."""
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
    """One network to read. Generated graphs are drawn again by whoever reads them."""

    name: str
    family: str
    split: str
    source: str
    structure: bytes
    """Packed; for generated graphs what they are drawn from, as text."""
    input_shapes: Mapping[str, tuple[int, ...]]
    optimized: bytes
    """What the runtime made of it; empty where that is not known."""
    digest: str
    """What a generated graph's digest must be; empty for stored ones."""
    visits: Mapping[str, tuple[Visit, ...]]
    """By slice."""
    kernels: tuple[KernelRow, ...]
    isolated: tuple[IsolatedRow, ...]
    """Quietest visits of an isolated kernel, one a slice."""
    overheads: Mapping[str, ProfilerOverhead]
    """What profiling adds, by slice."""
    device: bytes
    """Its descriptor: the device itself does not travel between processes."""

    def model(self) -> bytes:
        """The ONNX file without weights."""
        match self.split:
            case "fnn" | "cnn":
                return random_kinds.structure(self.split, int(self.structure))
            case "isolated":
                return isolated_specs.structure(self.structure.decode())
            case _:
                return structures.unpack(self.structure)


@lru_cache(maxsize=8)
def _device(descriptor: bytes) -> CpuDevice:
    device = descriptors.read_device(descriptor)
    if not isinstance(device, CpuDevice):
        raise TypeError(f"{device.name} is no CPU")
    return device


def _sample(job: _Job) -> Sample:
    device = _device(job.device)
    graph = loading.load_graph(job.model(), dict(job.input_shapes))
    if job.digest and graph.digest != job.digest:
        raise DatasetRefused(f"{job.name}: drawn again, its graph is {graph.digest}, not {job.digest} as measured; it was measured by another generator")
    block = layouts.channel_block(device.isa)
    kernels = rules.fuse(graph, block)
    work = workloads(graph, kernels, block)
    if job.split == "isolated":
        work = work.without_copies()
    homes = Homes(_owners(graph, job), {operator: kernel.index for kernel in kernels for operator in kernel.operators}, len(kernels))
    measured = {}
    for name in sorted({PAIR_SLICE} | job.visits.keys()):
        slice_ = slice_resources(device, parse_slice(name))
        found = _profile(job, name, homes)
        measured[name] = Measured(slice_, feature_matrix(work, slice_), roofline_ms(work, slice_), found, job.visits.get(name, ()))
    types = runtime_types(kernels, homes.owners, job.kernels)
    return Sample(job.name, job.family, job.split, job.source, graph.digest, graph, kernels, types, work, graph.flops, graph.parameters, measured)


def _owners(graph: OpGraph, job: _Job) -> Mapping[str, int]:
    return truths.read_truth(graph, job.optimized).owners if job.optimized and job.kernels else {}


def _profile(job: _Job, slice_: str, homes: Homes) -> Profile | None:
    isolated = next((row for row in job.isolated if row.slice == slice_), None)
    if isolated is not None:
        # A graph that our fusion splits is no isolated kernel: whose time would it be?
        return isolated_profile(isolated, job.overheads.get(slice_)) if homes.count == 1 else None
    rows = [row for row in job.kernels if row.slice == slice_]
    return profile(rows, homes, job.overheads.get(slice_), job.visits.get(slice_, ())) if homes.owners else None


def _outcome(job: _Job) -> Sample | str:
    try:
        return _sample(job)
    except GraphRefused as error:
        return str(error)


def visits(dataset: Dataset) -> dict[str, dict[str, tuple[Visit, ...]]]:
    """Every visit to every network, by network and slice."""
    found: dict[str, dict[str, list[Visit]]] = {}
    alone: list[NetworkRow | RandomRow] = [*dataset.networks, *dataset.randoms]
    for row in alone:
        visit = Visit(row.repeat, row.median_ms, row.p25_ms, row.mean_ms, row.cv, row.noisy)
        found.setdefault(row.network, {}).setdefault(row.slice, []).append(visit)
    for one in dataset.isolated:
        # A single kernel is never judged: its mean is not kept, nor asked for.
        visit = Visit(one.repeat, one.median_us / 1000, one.p25_us / 1000, one.median_us / 1000, one.cv, one.noisy)
        found.setdefault(one.network, {}).setdefault(one.slice, []).append(visit)
    return {
        network: {name: tuple(sorted(some, key=lambda visit: visit.repeat)) for name, some in sorted(by_slice.items())} for network, by_slice in found.items()
    }  # fmt: skip


def _jobs(dataset: Dataset, device: CpuDevice) -> dict[str, _Job]:
    kernels: dict[str, list[KernelRow]] = {}
    for kernel in dataset.kernels:
        kernels.setdefault(kernel.network, []).append(kernel)
    found, descriptor = visits(dataset), descriptors.write_device(device)
    paired = {name for row in dataset.pairs for name in (row.network, row.tenant)}
    randoms = {row.network: row for row in dataset.randoms}
    isolated: dict[str, dict[str, IsolatedRow]] = {}
    for one in sorted(dataset.isolated, key=lambda row: row.median_us):
        isolated.setdefault(one.network, {}).setdefault(one.slice, one)
    overheads, jobs = profiler_overheads.fit(dataset), {}
    for name in sorted(found.keys() | paired):
        quietest = tuple(isolated.get(name, {}).values())
        measured = (found.get(name, {}), tuple(kernels.get(name, ())), quietest, overheads, descriptor)
        optimized = dataset.optimized[name].optimized if name in dataset.optimized else b""
        if (random := randoms.get(name)) is not None:
            drawn = str(random.seed).encode()
            jobs[name] = _Job(name, random.family, random.kind, "generated", drawn, {}, optimized, random.digest, *measured)
        elif quietest:
            spec = quietest[0]
            jobs[name] = _Job(name, spec.family, "isolated", "generated", spec.spec.encode(), {}, optimized, spec.digest, *measured)
        else:
            row = dataset.structures[name]
            shapes = dict(zip(row.input_names, row.input_shapes, strict=True))
            optimized = structures.unpack(row.optimized) if row.optimized else b""
            jobs[name] = _Job(name, row.family, row.split, row.source, row.structure, shapes, optimized, "", *measured)
    return jobs


def _outcomes(jobs: Sequence[_Job]) -> list[Sample | str]:
    """Results in the order of the jobs; in two processes where there are many."""
    if len(jobs) < _ALONE:
        return [_outcome(job) for job in jobs]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_outcome, jobs, chunksize=_CHUNK))


def samples(dataset: Dataset, device: CpuDevice) -> Samples:
    """Every measured network, analysed by the code that serves.

    Raises:
        DatasetRefused: a generated graph is not the one that was measured.
    """
    jobs = _jobs(dataset, device)
    outcomes = dict(zip(jobs, _outcomes(list(jobs.values())), strict=True))
    found = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Sample)}
    return Samples(device, found, {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, str)})

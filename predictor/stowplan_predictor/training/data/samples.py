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
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.kernel_types import runtime_types
from stowplan_predictor.training.data.measurements import Measured, Profile
from stowplan_predictor.training.data.profiled_kernels import Homes, isolated_profile, profile
from stowplan_predictor.training.data.sample_jobs import Job, jobs

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


@lru_cache(maxsize=8)
def _device(descriptor: bytes) -> CpuDevice:
    device = descriptors.read_device(descriptor)
    if not isinstance(device, CpuDevice):
        raise TypeError(f"{device.name} is no CPU")
    return device


def _sample(job: Job) -> Sample:
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


def _owners(graph: OpGraph, job: Job) -> Mapping[str, int]:
    return truths.read_truth(graph, job.optimized).owners if job.optimized and job.kernels else {}


def _profile(job: Job, slice_: str, homes: Homes) -> Profile | None:
    isolated = next((row for row in job.isolated if row.slice == slice_), None)
    if isolated is not None:
        # A graph that our fusion splits is no isolated kernel: whose time would it be?
        return isolated_profile(isolated, job.overheads.get(slice_), job.visits.get(slice_, ())) if homes.count == 1 else None
    rows = [row for row in job.kernels if row.slice == slice_]
    return profile(rows, homes, job.overheads.get(slice_), job.visits.get(slice_, ())) if homes.owners else None


def _outcome(job: Job) -> Sample | str:
    try:
        return _sample(job)
    except GraphRefused as error:
        return str(error)


def _outcomes(jobs: Sequence[Job]) -> list[Sample | str]:
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
    todo = jobs(dataset, device)
    outcomes = dict(zip(todo, _outcomes(list(todo.values())), strict=True))
    found = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Sample)}
    return Samples(device, found, {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, str)})

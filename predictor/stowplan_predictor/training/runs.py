"""Tasks to rows: each kind of task through the measuring code that serves users too."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from stowplan_fleet.slices import parse_slice

from stowplan_predictor.measuring import loads, networks, pairs, processes, profiles
from stowplan_predictor.measuring.networks import NetworkMeasurement
from stowplan_predictor.measuring.profiles import KernelProfile
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.training.datasets import AnyRow
from stowplan_predictor.training.plans import Task
from stowplan_predictor.training.rows import KernelRow, LoadRow, NetworkRow, PairRow

Say = Callable[[str], None]


class OptimizedStructures(Protocol):
    """Where the runtime's versions of networks are kept."""

    def read(self, network: str) -> bytes:
        """The stripped optimised model, or nothing where it is not known yet."""

    def keep(self, network: str, optimized: bytes) -> None:
        """Keeps one."""


# A campaign is patient: another measurement on this machine ends some time.
_WAIT_S: Final = 1800.0


def network_row(task: Task, measured: NetworkMeasurement, profile: KernelProfile | None) -> NetworkRow:
    """The end-to-end row of a network."""
    described = measured.distribution
    return NetworkRow(
        network=task.network,
        slice=task.slice,
        repeat=task.repeat,
        threads=measured.threads,
        runs=described.runs,
        warmup_runs=measured.warmup_runs,
        median_ms=described.median_ms,
        mean_ms=described.mean_ms,
        p5_ms=described.p5_ms,
        p25_ms=described.p25_ms,
        p75_ms=described.p75_ms,
        p95_ms=described.p95_ms,
        p99_ms=described.p99_ms,
        cv=described.cv,
        quantiles_ms=described.quantiles_ms,
        foreign_share=measured.foreign_share,
        steal_share=measured.steal_share,
        attempts=measured.attempts,
        noisy=measured.noisy,
        kernels_sum_ms=profile.sum_ms if profile else None,
        kernels_count=len(profile.kernels) if profile else None,
        measured_at=measured.measured_at,
        product_slowdown=measured.product_slowdown,
        copy_slowdown=measured.copy_slowdown,
    )


def kernel_rows(task: Task, profile: KernelProfile) -> list[AnyRow]:
    """One row a kernel that the runtime ran."""
    return [
        KernelRow(task.network, task.slice, k.position, k.node, k.op_type, k.domain, k.outputs, k.provider, k.median_us, k.p25_us, k.p75_us, k.runs)
        for k in profile.kernels
    ]


def run_network(task: Task, file_of: Callable[[str], Path], say: Say, optimized: OptimizedStructures, best: Mapping[str, Reference]) -> dict[str, list[AnyRow]]:
    """Measures a network end to end and, the first time and on whole cores, kernel by kernel.

    Kernels under a quota are throttled at random: their times say nothing of the kernel. A retest is about the whole.
    """
    part, path = parse_slice(task.slice), file_of(task.network)
    if task.repeat or processes.is_fractional(part):
        measured = networks.measure_network(path, part, best=best.get(task.slice), wait_s=_WAIT_S, on_wait=say)
        return {"networks": [network_row(task, measured, None)]}
    profile = profiles.profile_kernels(path, part, known_optimized=optimized.read(task.network), best=best.get(task.slice), wait_s=_WAIT_S, on_wait=say)
    optimized.keep(task.network, profile.optimized_structure)
    return {"networks": [network_row(task, profile.end_to_end, profile)], "kernels": kernel_rows(task, profile)}


def run_pair(task: Task, file_of: Callable[[str], Path], say: Say) -> dict[str, list[AnyRow]]:
    """Measures two networks side by side."""
    measured = pairs.measure_pair(
        (file_of(task.network), file_of(task.tenant)), (parse_slice(task.slice), parse_slice(task.tenant_slice)), wait_s=_WAIT_S, on_wait=say
    )
    names, slices = (task.network, task.tenant), (task.slice, task.tenant_slice)
    rows: list[AnyRow] = [
        PairRow(
            network=names[side],
            slice=slices[side],
            tenant=names[1 - side],
            tenant_slice=slices[1 - side],
            alone_ms=half.alone.median_ms,
            beside_ms=half.beside.median_ms,
            ratio=half.ratio,
            beside_p95_ms=half.beside.p95_ms,
            alone_p95_ms=half.alone.p95_ms,
            runs_alone=half.alone.runs,
            runs_beside=half.beside.runs,
            drift=half.drift,
            spread=half.spread,
            foreign_share=measured.foreign_share,
            steal_share=measured.steal_share,
            rounds=measured.rounds,
            noisy=measured.noisy,
            measured_at=measured.measured_at,
        )
        for side, half in enumerate(measured.halves)
    ]
    return {"pairs": rows}


def run_load(task: Task, file_of: Callable[[str], Path], say: Say) -> dict[str, list[AnyRow]]:
    """Measures a server under several rates of Poisson arrivals."""
    rows: list[AnyRow] = [
        LoadRow(
            network=task.network,
            slice=task.slice,
            requests_per_second=state.requests_per_second,
            target_utilization=state.target_utilization,
            concurrency=1,
            seed=state.seed,
            requests=state.response.runs,
            duration_s=state.duration_s,
            service_mean_ms=state.service.mean_ms,
            service_cv=state.service.cv,
            inference_mean_ms=state.inference_mean_ms,
            mean_ms=state.response.mean_ms,
            p50_ms=state.response.median_ms,
            p90_ms=state.p90_ms,
            p95_ms=state.response.p95_ms,
            p99_ms=state.response.p99_ms,
            quantiles_ms=state.response.quantiles_ms,
            foreign_share=state.foreign_share,
            steal_share=state.steal_share,
            attempts=state.attempts,
            noisy=state.noisy,
            measured_at=state.measured_at,
        )
        for state in loads.measure_loads(file_of(task.network), parse_slice(task.slice), task.utilizations, seed=task.seed, wait_s=_WAIT_S, on_wait=say)
    ]
    return {"loads": rows}

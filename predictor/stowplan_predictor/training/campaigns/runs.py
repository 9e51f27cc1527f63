"""Tasks to rows: each kind of task through the measuring code that serves users too."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from stowplan_fleet.slices import parse_slice

from stowplan_predictor.measuring import loads, networks, pairs, visits
from stowplan_predictor.measuring.networks import NetworkMeasurement
from stowplan_predictor.measuring.profiles import KernelTime
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.measuring.visits import Window
from stowplan_predictor.training.campaigns.plans import PROFILED_VISITS, Task
from stowplan_predictor.training.data.datasets import AnyRow
from stowplan_predictor.training.data.rows import KernelRow, LoadRow, NetworkRow, PairRow

Say = Callable[[str], None]

# A campaign is patient: another measurement on this machine ends some time.
_WAIT_S: Final = 1800.0


def network_row(task: Task, measured: NetworkMeasurement) -> NetworkRow:
    """The end-to-end row of a network."""
    return _row(task, measured, part=task.slice, warmup_runs=measured.warmup_runs, attempts=measured.attempts)


def window_row(task: Task, window: Window) -> NetworkRow:
    """The end-to-end row of a window of a visit."""
    return _row(task, window, part=str(window.slice), warmup_runs=1, attempts=len(window.burst_medians_ms), kernels=window.kernels)


def _row(task: Task, measured: NetworkMeasurement | Window, *, part: str, warmup_runs: int, attempts: int, kernels: Sequence[KernelTime] = ()) -> NetworkRow:
    described = asdict(measured.distribution)
    # The rule on variation has judged by it; rows carry the verdict.
    del described["steady_cv"]
    return NetworkRow(
        network=task.network,
        slice=part,
        repeat=task.repeat,
        threads=measured.threads,
        warmup_runs=warmup_runs,
        foreign_share=measured.foreign_share,
        steal_share=measured.steal_share,
        attempts=attempts,
        noisy=measured.noisy,
        kernels_sum_ms=sum(kernel.median_us for kernel in kernels) / 1e3 if kernels else None,
        kernels_count=len(kernels) or None,
        measured_at=measured.measured_at,
        product_slowdown=measured.product_slowdown,
        copy_slowdown=measured.copy_slowdown,
        **described,
    )


def kernel_rows(network: str, part: str, repeat: int, kernels: Iterable[KernelTime]) -> list[AnyRow]:
    """One row a kernel that the runtime ran."""
    return [
        KernelRow(network, part, k.position, k.node, k.op_type, k.domain, k.outputs, k.provider, k.median_us, k.p25_us, k.p75_us, k.runs, repeat)
        for k in kernels
    ]


def run_visit(task: Task, file_of: Callable[[str], Path], say: Say, optimized: bytes, best: Mapping[str, Reference]) -> dict[str, list[AnyRow]]:
    """Measures a network on each whole-core slice in one process; every other time kernel by kernel too, which takes its optimised structure."""
    parts = [parse_slice(name) for name in task.slice.split("+")]
    profiled = optimized if task.repeat in PROFILED_VISITS else b""
    windows = visits.visit(file_of(task.network), parts, best, optimized=profiled, wait_s=_WAIT_S, on_wait=say)
    kernels = [row for window in windows for row in kernel_rows(task.network, str(window.slice), task.repeat, window.kernels)]
    return {"networks": [window_row(task, window) for window in windows], "kernels": kernels}


def run_network(task: Task, file_of: Callable[[str], Path], say: Say) -> dict[str, list[AnyRow]]:
    """Measures a network end to end under a quota; its kernels are throttled at random, so that their times would say nothing."""
    measured = networks.measure_network(file_of(task.network), parse_slice(task.slice), wait_s=_WAIT_S, on_wait=say)
    return {"networks": [network_row(task, measured)]}


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

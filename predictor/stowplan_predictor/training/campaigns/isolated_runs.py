"""Isolated kernels measured: chunks of sixty graphs in one process, each unprofiled in short visits and once by the profiler."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from stowplan_fleet.slices import parse_slice

from stowplan_predictor.graphs import loading
from stowplan_predictor.measuring import batches
from stowplan_predictor.measuring.batches import BatchRules
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.training.campaigns import isolated_plans
from stowplan_predictor.training.campaigns.generated_visits import visit_fields
from stowplan_predictor.training.campaigns.plans import Task
from stowplan_predictor.training.data.generated_rows import IsolatedRow
from stowplan_predictor.training.generated import single_kernels

TASK: Final = "isolated"
CHUNK: Final = 60
# Kernels last microseconds: a visit of ten milliseconds holds hundreds of runs.
_RULES: Final = BatchRules(rounds=3, min_runs=5, min_s=0.01, profile_runs=6, profile_s=0.008)
_WAIT_S: Final = 1800.0
_SECOND_SLICE: Final = ("cpu:2", 2)


def name(number: int, position: int) -> str:
    """What a kernel of a round is called in data sets."""
    return f"iso-{number}-{position:05d}"


def tasks(work: Path) -> tuple[Task, ...]:
    """Every chunk of every planned round; every other one on two cores too."""
    found = []
    for plan in isolated_plans.read_plans(work):
        for chunk, first in enumerate(range(0, len(plan.specs), CHUNK)):
            found.append(Task(TASK, name(plan.round, first), "cpu:1", seed=first))
            if chunk % _SECOND_SLICE[1] == 0:
                found.append(Task(TASK, name(plan.round, first), _SECOND_SLICE[0], seed=first))
    return tuple(found)


def chunks(kernels: int) -> int:
    """Tasks that so many kernels take on both slices."""
    return sum(1 + (number % _SECOND_SLICE[1] == 0) for number in range(-(-kernels // CHUNK)))


def run_isolated(task: Task, work: Path, say: Callable[[str], None], best: Mapping[str, Reference]) -> dict[str, list[Any]]:
    """Measures a chunk: rows of the table `isolated`.

    Raises:
        DatasetRefused: the round's plan is malformed.
        MeasurementError: the machine stays busy, or the runtime refuses a kernel.
    """
    number = int(task.network.split("-")[1])
    plan = next(plan for plan in isolated_plans.read_plans(work) if plan.round == number)
    specs = {name(number, task.seed + place): text for place, text in enumerate(plan.specs[task.seed : task.seed + CHUNK])}
    drawn = {own: single_kernels.from_json(text) for own, text in specs.items()}
    measured = batches.measure_batch(
        ((own, spec.blueprint().network()) for own, spec in drawn.items()),
        parse_slice(task.slice),
        best[task.slice],
        profiled=specs.keys(),
        # A kernel is bent without asking the runtime, which refuses some shapes.
        skip_refused=True,
        rules=_RULES,
        wait_s=_WAIT_S,
        on_wait=say,
    )
    digests = {own: loading.load_graph(spec.blueprint().structure()).digest for own, spec in drawn.items()}
    rows = [
        IsolatedRow(
            **visit_fields(visit, task, measured.threads, family=drawn[visit.name].family, digest=digests[visit.name]),
            kernel=drawn[visit.name].kernel,
            spec=specs[visit.name],
            median_us=visit.median_ms * 1e3,
            p5_us=visit.p5_ms * 1e3,
            p25_us=visit.p25_ms * 1e3,
            op_types=tuple(kernel.op_type for kernel in measured.profiles[visit.name].kernels),
            kernels_us=tuple(kernel.median_us for kernel in measured.profiles[visit.name].kernels),
        )
        for visit in measured.every_visit
    ]
    return {"isolated": rows}

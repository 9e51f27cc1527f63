"""Random networks measured: chunks of forty, all configurations in each, so that a campaign that is cut short has a bit of everything."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from stowplan_fleet.slices import parse_slice

from stowplan_predictor.graphs import loading
from stowplan_predictor.measuring import batches
from stowplan_predictor.measuring.batches import BatchMeasurement, BatchRules
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.training.campaigns import runs
from stowplan_predictor.training.campaigns.generated_visits import visit_fields
from stowplan_predictor.training.campaigns.plans import Task
from stowplan_predictor.training.data.generated_rows import OptimizedRow, RandomRow
from stowplan_predictor.training.generated import kinds, weights

TASK: Final = "randoms"
# Networks of each kind; the papers' hundreds of thousands would take weeks on one machine.
COUNTS: Final = {"fnn": 3040, "cnn": 1520}
# Seeds of one process: a multiple of the configurations would repeat them in step, and this many stay within some two gigabytes.
CHUNK: Final = 40
# One chunk in this many is also measured on two cores, where each visit must wait until the host gives them room.
_SECOND_SLICE: Final = ("cpu:2", 4)
# One network in this many is profiled, by runs of seeds as long as there are configurations, so that each configuration has its part.
_PROFILED: Final = {"fnn": 10, "cnn": 3}
# Networks of seeds below this are profiled twice, long apart: one of both meets a machine that does not change in between.
_AGAIN_BELOW: Final = 800
# Visits of a repeat are numbered from this on, each time.
_REPEAT: Final = 10
_WAIT_S: Final = 1800.0


def tasks() -> tuple[Task, ...]:
    """Every chunk, both kinds in turns."""
    found = []
    for number in range(max(COUNTS.values()) // CHUNK):
        for kind, count in COUNTS.items():
            first = number * CHUNK
            if first < count:
                found.append(Task(TASK, f"{kind}-{first:05d}", "cpu:1", seed=first))
                if number % _SECOND_SLICE[1] == 0:
                    found.append(Task(TASK, f"{kind}-{first:05d}", _SECOND_SLICE[0], seed=first))
    again = [Task(TASK, task.network, task.slice, 1, seed=task.seed) for task in found if task.slice == "cpu:1" and task.seed < _AGAIN_BELOW]
    return (*found, *(task for task in again if _seeds(task)))


def _seeds(task: Task) -> dict[str, int]:
    """Networks of a chunk, by name; a repeat is about those that are profiled."""
    kind = task.network.partition("-")[0]
    seeds = range(task.seed, task.seed + CHUNK)
    return {kinds.name(kind, seed): seed for seed in seeds if not task.repeat or is_profiled(kind, seed)}


def is_profiled(kind: str, seed: int) -> bool:
    """Whether the campaign looks at a network kernel by kernel."""
    return seed // len(kinds.configurations(kind)) % _PROFILED[kind] == 0


def run_randoms(task: Task, work: Path, say: Callable[[str], None], best: Mapping[str, Reference]) -> dict[str, list[Any]]:
    """Measures a chunk: rows of the tables `randoms`, `kernels` and `optimized`.

    Raises:
        MeasurementError: the machine stays busy, or the runtime refuses a network.
    """
    kind, digests = task.network.partition("-")[0], dict[int, str]()
    seeds = _seeds(task)

    def models() -> Iterator[tuple[str, bytes]]:
        for name, seed in seeds.items():
            drawn = kinds.blueprint(kind, seed)
            digests[seed] = loading.load_graph(drawn.structure()).digest
            yield name, drawn.sharing()

    measured = batches.measure_batch(
        models(),
        parse_slice(task.slice),
        best[task.slice],
        profiled=[name for name, seed in seeds.items() if is_profiled(kind, seed)],
        rules=BatchRules(rounds=1) if task.repeat else None,
        external=weights.write_shared(work),
        wait_s=_WAIT_S,
        on_wait=say,
    )
    kernels = [
        row
        for name, profile in measured.profiles.items()
        for row in runs.kernel_rows(name, task.slice, _REPEAT * task.repeat + profile.visit.repeat, profile.kernels)
    ]
    rows: dict[str, list[Any]] = {"randoms": _rows(task, seeds, digests, measured), "kernels": kernels, "optimized": []}
    # The optimiser looks at the CPU and never at the number of threads: the first slice's graph serves all.
    if task.slice == "cpu:1" and not task.repeat:
        rows["optimized"] = [OptimizedRow(name, profile.optimized_structure) for name, profile in measured.profiles.items()]
    return rows


def _rows(task: Task, seeds: Mapping[str, int], digests: Mapping[int, str], measured: BatchMeasurement) -> list[Any]:
    rows, kind = [], task.network.partition("-")[0]
    for visit in measured.every_visit:
        seed, profile = seeds[visit.name], measured.profiles.get(visit.name)
        common = visit_fields(visit, task, measured.threads, family=kinds.configuration(kind, seed), digest=digests[seed])
        rows.append(
            RandomRow(
                **common | {"repeat": _REPEAT * task.repeat + visit.repeat},
                kind=kind,
                seed=seed,
                median_ms=visit.median_ms,
                mean_ms=visit.mean_ms,
                p5_ms=visit.p5_ms,
                p25_ms=visit.p25_ms,
                kernels_sum_ms=profile.sum_ms if profile else None,
                kernels_count=len(profile.kernels) if profile else None,
            )
        )
    return rows

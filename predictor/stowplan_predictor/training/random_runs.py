"""Random networks measured: chunks of forty, all configurations in each, so that a campaign that is cut short has a bit of everything."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from stowplan_fleet.slices import parse_slice

from stowplan_predictor.graphs import loading
from stowplan_predictor.measuring import batches
from stowplan_predictor.measuring.batches import BatchMeasurement
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.training import random_kinds, random_weights
from stowplan_predictor.training.plans import Task
from stowplan_predictor.training.random_rows import OptimizedRow, RandomRow
from stowplan_predictor.training.rows import KernelRow

TASK: Final = "randoms"
# Networks of each kind; the papers' hundreds of thousands would take weeks on one machine.
COUNTS: Final = {"fnn": 3040, "cnn": 1520}
# Seeds of one process: a multiple of the configurations would repeat them in step, and this many stay within some two gigabytes.
CHUNK: Final = 40
# One chunk in this many is also measured on two cores, where each visit must wait until the host gives them room.
_SECOND_SLICE: Final = ("cpu:2", 4)
# One network in this many is profiled, by runs of seeds as long as there are configurations, so that each configuration has its part.
_PROFILED: Final = {"fnn": 10, "cnn": 3}
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
    return tuple(found)


def is_profiled(kind: str, seed: int) -> bool:
    """Whether the campaign looks at a network kernel by kernel."""
    return seed // len(random_kinds.configurations(kind)) % _PROFILED[kind] == 0


def run_randoms(task: Task, work: Path, say: Callable[[str], None], best: Mapping[str, Reference]) -> dict[str, list[Any]]:
    """Measures a chunk: rows of the tables `randoms`, `kernels` and `optimized`.

    Raises:
        MeasurementError: the machine stays busy, or the runtime refuses a network.
    """
    kind, digests = task.network.partition("-")[0], dict[int, str]()
    seeds = {random_kinds.name(kind, seed): seed for seed in range(task.seed, task.seed + CHUNK)}

    def models() -> Iterator[tuple[str, bytes]]:
        for name, seed in seeds.items():
            drawn = random_kinds.blueprint(kind, seed)
            digests[seed] = loading.load_graph(drawn.structure()).digest
            yield name, drawn.sharing()

    measured = batches.measure_batch(
        models(),
        parse_slice(task.slice),
        best[task.slice],
        profiled=[name for name, seed in seeds.items() if is_profiled(kind, seed)],
        external=random_weights.write_shared(work),
        wait_s=_WAIT_S,
        on_wait=say,
    )
    rows = {"randoms": _rows(kind, task.slice, seeds, digests, measured), "kernels": kernel_rows(task.slice, measured), "optimized": []}
    # The optimiser looks at the CPU and never at the number of threads: the first slice's graph serves all.
    if task.slice == "cpu:1":
        rows["optimized"] = optimized_rows(measured)
    return rows


def _rows(kind: str, part: str, seeds: Mapping[str, int], digests: Mapping[int, str], measured: BatchMeasurement) -> list[Any]:
    rows = []
    for visit in measured.visits:
        seed, profile = seeds[visit.name], measured.profiles.get(visit.name)
        rows.append(
            RandomRow(
                network=visit.name,
                kind=kind,
                family=random_kinds.configuration(kind, seed),
                seed=seed,
                digest=digests[seed],
                slice=part,
                repeat=visit.repeat,
                threads=measured.threads,
                runs=visit.runs,
                median_ms=visit.median_ms,
                mean_ms=visit.mean_ms,
                p5_ms=visit.p5_ms,
                p25_ms=visit.p25_ms,
                cv=visit.cv,
                foreign_share=visit.foreign_share,
                steal_share=visit.steal_share,
                product_slowdown=visit.product_slowdown,
                copy_slowdown=visit.copy_slowdown,
                noisy=visit.noisy,
                kernels_sum_ms=profile.sum_ms if profile else None,
                kernels_count=len(profile.kernels) if profile else None,
                measured_at=visit.measured_at,
            )
        )
    return rows


def kernel_rows(part: str, measured: BatchMeasurement) -> list[Any]:
    """One row a kernel that the runtime ran, of every network profiled, next to the last visits."""
    last = max(visit.repeat for visit in measured.visits)
    return [
        KernelRow(name, part, k.position, k.node, k.op_type, k.domain, k.outputs, k.provider, k.median_us, k.p25_us, k.p75_us, k.runs, last)
        for name, profile in measured.profiles.items()
        for k in profile.kernels
    ]


def optimized_rows(measured: BatchMeasurement) -> list[Any]:
    """What the runtime made of every network profiled."""
    return [OptimizedRow(name, profile.optimized_structure) for name, profile in measured.profiles.items()]

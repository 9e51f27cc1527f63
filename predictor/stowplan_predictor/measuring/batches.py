"""Many small networks in one process: each alone on the slice while it runs, visited in rounds, so that its visits lie seconds apart.

A process a network would spend a hundred times longer on starting than on measuring networks that run for a millisecond. What a fresh process guards
against, caches that another network left, is met by a run before each visit that does not count.
"""

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from stowplan_fleet.slices import Slice

from stowplan_predictor.errors import MeasurementError, RuntimeRefused
from stowplan_predictor.measuring import noises, optimizers, processes, profiles, references
from stowplan_predictor.measuring.locks import machine_lock
from stowplan_predictor.measuring.profiles import KernelTime
from stowplan_predictor.measuring.references import Reference

_WORKER: Final = "stowplan_predictor.measuring.batch_workers"


@dataclass(frozen=True, slots=True)
class BatchRules:
    """How long networks are visited and profiled."""

    rounds: int = 4
    min_runs: int = 4
    min_s: float = 0.02
    profile_runs: int = 6
    profile_s: float = 0.02
    """Of each burst of a profile, and of each visit after it."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A short sample of one network; times in milliseconds."""

    name: str
    repeat: int
    """Which round, from 0; the number of rounds for the visit right after a profile."""
    runs: int
    median_ms: float
    mean_ms: float
    p5_ms: float
    p25_ms: float
    cv: float
    foreign_share: float
    steal_share: float
    product_slowdown: float
    """Of the machine itself around the visit, over its best."""
    copy_slowdown: float
    measured_at: str

    @property
    def noisy(self) -> bool:
        """True where the machine was disturbed or slow around the visit."""
        return (
            max(self.foreign_share, self.steal_share) > noises.LIMIT
            or self.product_slowdown > references.MAX_PRODUCT_SLOWDOWN
            or self.copy_slowdown > references.MAX_COPY_SLOWDOWN
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """The kernels of one network."""

    kernels: tuple[KernelTime, ...]
    optimized_structure: bytes
    visit: Visit
    """Unprofiled, right after, in the same session."""

    @property
    def sum_ms(self) -> float:
        """Of the kernels' medians."""
        return sum(kernel.median_us for kernel in self.kernels) / 1e3


@dataclass(frozen=True, slots=True)
class BatchMeasurement:
    """What was measured of a batch."""

    threads: int
    visits: tuple[Visit, ...]
    """Round by round."""
    profiles: Mapping[str, Profile]
    """By name."""
    refused: Mapping[str, str]
    """Why the runtime cannot run what was skipped, by name."""

    @property
    def every_visit(self) -> tuple[Visit, ...]:
        """Those of the rounds, and those right after profiles."""
        return (*self.visits, *(profile.visit for profile in self.profiles.values()))


def measure_batch(
    models: Iterable[tuple[str, bytes]],
    part: Slice,
    best: Reference,
    *,
    profiled: Collection[str] = (),
    skip_refused: bool = False,
    rules: BatchRules | None = None,
    external: Path | None = None,
    wait_s: float = 600.0,
    on_wait: Callable[[str], None] | None = None,
) -> BatchMeasurement:
    """Visits every network in each round, and profiles some.

    Args:
        models: names and ONNX files, with every input bound; all stay open together, so their weights must fit into memory.
        part: whole cores.
        best: the machine's own best on that slice, to hold looks against.
        profiled: names of networks that are profiled kernel by kernel after the rounds.
        skip_refused: leave out networks that the runtime cannot run, and measure the others.
        rules: how long.
        external: a file that the models name as external data; it is linked beside them.
        wait_s: how long to wait for the machine.
        on_wait: told once when the machine is held by others.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        MeasurementError: the slice is fractional, or has more cores than the machine.
        RuntimeRefused: the runtime cannot run one of them, and none may be skipped.
    """
    if processes.is_fractional(part):
        raise MeasurementError(f"slice {part}: batches are measured on whole cores, because a quota throttles short visits at random")
    rules, threads = rules or BatchRules(), processes.cores_of(part)
    with (
        machine_lock(wait_s, on_wait),
        processes.Worker(module=_WORKER) as worker,
        tempfile.TemporaryDirectory(dir=external and external.parent) as name_of_scratch,
    ):
        scratch = Path(name_of_scratch)
        if external is not None:
            (scratch / external.name).hardlink_to(external)
        refused: dict[str, str] = {}
        for name, model in models:
            try:
                _open(worker, name, model, scratch, threads)
            except RuntimeRefused as error:
                if not skip_refused:
                    raise
                refused[name] = str(error)
        visits: list[Visit] = []
        placed_ms = references.MAX_PLACED_SLOWDOWN * best.product_ms
        for repeat in range(rules.rounds):
            answer = worker.ask("visit", timeout_s=600, min_runs=rules.min_runs, min_s=rules.min_s, placed_ms=placed_ms)
            visits += [_visit(taken, repeat, best) for taken in answer["visits"]]
        found = {name: _profile(worker, name, scratch, rules, best) for name in sorted(set(profiled) - refused.keys())}
    return BatchMeasurement(threads, tuple(visits), found, refused)


def _open(worker: processes.Worker, name: str, model: bytes, folder: Path, threads: int) -> None:
    path = folder / f"{name}.onnx"
    path.write_bytes(model)
    try:
        worker.ask("open", timeout_s=120, name=name, model=str(path), cpus=processes.placed_cpus(threads), threads=threads)
    except RuntimeRefused as error:
        raise RuntimeRefused(f"{name}: {error}") from error


def _visit(taken: dict[str, Any], repeat: int, best: Reference) -> Visit:
    fields = dict(taken)
    product, copy = fields.pop("product_ms") / best.product_ms, fields.pop("copy_ms") / best.copy_ms
    return Visit(repeat=repeat, product_slowdown=product, copy_slowdown=copy, measured_at=processes.now_utc(), **fields)


def _profile(worker: processes.Worker, name: str, scratch: Path, rules: BatchRules, best: Reference) -> Profile:
    placed_ms = references.MAX_PLACED_SLOWDOWN * best.product_ms
    answer = worker.ask("profile", timeout_s=180, name=name, folder=str(scratch), min_runs=rules.profile_runs, min_s=rules.profile_s, placed_ms=placed_ms)
    optimized = optimizers.optimized_structure(scratch / f"{name}.onnx")
    kernels = profiles.kernel_times(answer, onnx.load_model_from_string(optimized))
    return Profile(kernels, optimized, _visit(answer["visit"], rules.rounds, best))

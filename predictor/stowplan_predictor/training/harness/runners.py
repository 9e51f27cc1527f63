"""Runs units side by side, each in a process of its own with one thread, until nothing is open or the time is up.

Processes are forked after the data were read: thousands of graphs are not sent around. They are forked before any of this has started a thread of its own.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final

from stowplan_predictor.training.harness.systems import System
from stowplan_predictor.training.harness.units import UnitKind, Units
from stowplan_predictor.training.harness.worlds import World
from stowplan_predictor.training.judgements.predictions import Predictions, check_current, write_predictions

PROCESSES: Final = 2
# Seconds that a unit takes before this run knows better: only to decide whether another one fits.
_EXPECTED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be done."""

    world: World
    units: Units
    kinds: Mapping[str, UnitKind]
    systems: Sequence[System]
    keys: Mapping[str, str]
    """Key of every kind that the systems need."""
    finishing: bool = True
    """Whether predictions are written once the units of a system are done; else the units are all that is wanted."""

    def open_units(self) -> list[tuple[str, int]]:
        """What is not done yet, (kind, fold), in the order of the systems."""
        names = dict.fromkeys(name for system in self.systems for name in system.units)
        pairs = [(name, fold) for name in names for fold in self.kinds[name].folds(self.world)]
        return [(name, fold) for name, fold in pairs if not self.units.is_done(name, self.keys[name], fold)]


@dataclass(slots=True)
class Outcome:
    """What a run did."""

    written: list[str] = field(default_factory=list)
    """Systems whose predictions were written."""
    failed: dict[str, str] = field(default_factory=dict)
    """Reason by system, or by unit as `kind/fold`."""
    left: int = 0
    """Units that are still open."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """How long each unit of a kind took, as it ended."""


# Set before the processes are forked, and read in them.
_plan: Plan | None = None


def one_thread() -> None:
    """Two processes with a thread each use two cores better than one with two threads: these models are small."""
    import threadpoolctl  # noqa: PLC0415 - comes with scikit-learn
    import torch  # noqa: PLC0415

    threadpoolctl.threadpool_limits(1)
    torch.set_num_threads(1)


def _fit(kind: str, fold: int) -> None:
    assert _plan is not None  # noqa: S101 - set before the fork
    _plan.units.keep(kind, _plan.keys[kind], fold, _plan.kinds[kind].make(_plan.world, fold))


def finish(plan: Plan, system: System) -> None:
    """Makes the predictions of a system whose units are all done, and writes them.

    Raises:
        DatasetRefused: it leaves a case out, or says what cannot be a prediction.
    """
    content = {
        name: {fold: plan.units.read(name, plan.keys[name], fold) for fold in plan.kinds[name].folds(plan.world)} for name in system.units
    }  # fmt: skip
    folds = sorted(set.intersection(*(set(found) for found in content.values())))
    rows = list(system.rows(plan.world, system.name, content))
    given = {row.case for row in rows}
    rows += [row for row in plan.world.refusals(system.name) if row.fold in folds and row.case not in given]
    predictions = Predictions(system.name, plan.world.data, tuple(rows))
    check_current(predictions, plan.world.data, [(case.sample.name, case.slice) for _, case in plan.world.judged(folds)])
    write_predictions(plan.world.folder, predictions)
    if system.beside is not None:
        system.beside(plan.world, system.name, content)


def _finish(name: str) -> None:
    assert _plan is not None  # noqa: S101 - set before the fork
    finish(_plan, next(system for system in _plan.systems if system.name == name))


def run(plan: Plan, minutes: float, say: Callable[[str], None], advance: Callable[[str], None], started: Callable[[], None]) -> Outcome:
    """Fits what is open, and writes the predictions of every system as soon as its last unit is done.

    Args:
        plan: what shall be done.
        minutes: no unit is begun that is not expected to end within them.
        say: is told what went wrong.
        advance: is told each unit that ended, as `kind/fold`.
        started: called once the processes are there; only then may anybody start threads.
    """
    global _plan  # noqa: PLW0603 - the one way into a forked process
    _plan = plan
    deadline, outcome = time.monotonic() + 60 * minutes, Outcome()
    queue, durations = plan.open_units(), outcome.seconds
    waiting = {system.name: system for system in plan.systems if plan.finishing}
    running: dict[Future[None], tuple[str, int | None, float]] = {}

    def fits(kind: str) -> bool:
        expected = statistics.fmean(durations[kind]) if kind in durations else _EXPECTED_S
        return time.monotonic() + expected <= deadline

    def ready() -> list[str]:
        broken = {name.partition("/")[0] for name in outcome.failed}
        undone = {kind for kind, _ in queue} | {kind for kind, fold, _ in running.values() if fold is not None} | broken
        return [name for name, system in waiting.items() if not undone & set(system.units)]

    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("fork"), initializer=one_thread) as pool:
        pool.submit(os.getpid).result()
        started()
        while True:
            for name in ready():
                running[pool.submit(_finish, name)] = (name, None, time.monotonic())
                del waiting[name]
            while queue and len(running) < PROCESSES and fits(queue[0][0]):
                kind, fold = queue.pop(0)
                running[pool.submit(_fit, kind, fold)] = (kind, fold, time.monotonic())
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, at, began = running.pop(future)
                label = name if at is None else f"{name}/{at}"
                if (error := future.exception()) is not None:
                    outcome.failed[label] = f"{type(error).__name__}: {error}"
                    say(f"{label}: {outcome.failed[label]}")
                elif at is None:
                    outcome.written.append(name)
                else:
                    durations.setdefault(name, []).append(time.monotonic() - began)
                    advance(label)
    outcome.left = len(plan.open_units())
    return outcome

"""Several networks made ready at a time, each in a process of its own, and then measured one after the other: compiling takes cores, measuring the GPU.

Nothing is timed while anything compiles. Processes that are ready wait without touching the GPU.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from stowplan_predictor.errors import DatasetRefused, MeasurementError
from stowplan_predictor.measuring.processes import Worker
from stowplan_predictor.training.cuda import units
from stowplan_predictor.training.cuda.plans import Unit
from stowplan_predictor.training.cuda.rows import AnyRow


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a unit."""

    unit: Unit
    seconds: float
    """Its share of making ready, and its own measuring."""
    rows: dict[str, list[AnyRow]] = field(default_factory=dict)
    reason: str = ""
    """Why it has no rows."""


def batches(planned: Sequence[Unit], lanes: int) -> Iterator[tuple[Unit, ...]]:
    """The plan in its order, so many at a time of those that can be made ready beside each other."""
    waiting: list[Unit] = []
    for unit in planned:
        if waiting and (not unit.is_prepared_beside_others or len(waiting) == lanes):
            yield tuple(waiting)
            waiting = []
        if unit.is_prepared_beside_others:
            waiting.append(unit)
        else:
            yield (unit,)
    if waiting:
        yield tuple(waiting)


def reason_of(error: Exception) -> str:
    """As it is kept."""
    return f"{type(error).__name__}: {str(error)[:400]}"


def together(batch: Sequence[Unit], start: Callable[[], Worker], left_s: Callable[[], float], now: Callable[[], float]) -> Iterator[Result]:
    """Networks and blocks on the whole GPU; each result as soon as it is there."""
    limit_s, began = units.limited(left_s), now()
    with ExitStack() as stack:
        workers = [stack.enter_context(start()) for _ in batch]
        refused: dict[Unit, str] = {}
        for unit, worker in zip(batch, workers, strict=True):
            try:
                worker.tell("prepare", **units.preparing(unit))
            except MeasurementError as error:
                refused[unit] = reason_of(error)
        for unit, worker in zip(batch, workers, strict=True):
            try:
                if unit not in refused:
                    worker.hear("prepare", limit_s())
            except MeasurementError as error:
                refused[unit] = reason_of(error)
                # It may still be compiling: the others are not timed beside that. Ending a process twice is harmless.
                worker.__exit__(type(error), error, None)
        share_s = (now() - began) / len(batch)
        for unit, worker in zip(batch, workers, strict=True):
            at = now()
            if unit in refused:
                yield Result(unit, share_s, reason=refused[unit])
                continue
            try:
                rows = units.whole_rows(unit, worker.ask("measure", limit_s()))
            except (MeasurementError, DatasetRefused) as error:
                yield Result(unit, share_s + now() - at, reason=reason_of(error))
            else:
                yield Result(unit, share_s + now() - at, rows)

"""Askings: calls of the predictor. A filter waits for one only so long; what comes later is not thrown away.

The scheduler tries a pod again within seconds, so an answer that came too late for the first filter is there for the next one. A predictor that is slow
makes pods late; only one that is dead or hangs makes them wait.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from stowplan_fleet import logs
from stowplan_fleet.answers import Answer
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import FleetError, MessageRefused, PredictorLate, PredictorUnavailable
from stowplan_fleet.predictors import Predictor
from stowplan_fleet.questions import Question
from stowplan_fleet.slices import DeviceName

from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import PredictorSettings

_log = logging.getLogger(__name__)
# Calls nobody waits for any more, whose answers are still wanted. The scheduler tries a pod every second at most, and waits longer each time.
_LATE_MAX: Final = 16

Answers = Sequence[Answer]


class Asking:
    """Asks the predictor, and tells how it fares."""

    def __init__(self, predictor: Predictor, settings: PredictorSettings, clock: Callable[[], float], metrics: Metrics) -> None:
        """`clock` counts monotonic seconds."""
        self._predictor, self._settings, self._clock, self._metrics = predictor, settings, clock, metrics
        self._late: set[asyncio.Task[Answers]] = set()
        self._seldom = logs.Seldom(clock=clock)

    async def ask(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str, keep_late: Callable[[Answers], None]) -> Answers:
        """One answer a question, in order. `keep_late` is called with answers that came after `timeout_s`, where they come at all.

        Raises:
            PredictorUnavailable: nobody answered within `timeout_s`, or not as asked.
        """
        started_s = self._clock()
        outcome = "unavailable"
        call = asyncio.create_task(self._call(questions, devices, runtime))
        try:
            await asyncio.wait({call}, timeout=self._settings.timeout_s)
            if not call.done():
                self._let_end(call, keep_late, started_s)
                raise PredictorLate(f"no answer within {self._settings.timeout_s:g} s")
            answers = call.result()
            outcome = "ok"
        except PredictorLate:
            outcome = "late"
            raise
        except MessageRefused as error:
            outcome = "refused"
            raise PredictorUnavailable(f"the predictor refuses to read the questions: {error}") from error
        except asyncio.CancelledError:
            call.cancel()
            raise
        finally:
            self._metrics.predictor_up.set(outcome == "ok")
            self._metrics.predictor_seconds.labels(outcome).observe(self._clock() - started_s)
        self._note_pace(started_s, len(answers))
        return answers

    async def _call(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Answers:
        try:
            async with asyncio.timeout(self._settings.late_s):
                answers = await self._predictor.predict(questions, devices, runtime)
        except TimeoutError as error:
            raise PredictorLate(f"no answer within {self._settings.late_s:g} s") from error
        if len(answers) != len(questions):
            raise PredictorUnavailable(f"the predictor gave {len(answers)} answers to {len(questions)} questions")
        return answers

    def _let_end(self, call: "asyncio.Task[Answers]", keep_late: Callable[[Answers], None], started_s: float) -> None:
        """Lets a call come to its end by itself."""

        def ended(task: "asyncio.Task[Answers]") -> None:
            self._late.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, FleetError):
                _log.error("a late call of the predictor failed", exc_info=error)
            if task.cancelled() or error is not None:
                return
            self._metrics.predictor_up.set(1)
            self._metrics.late_answers.inc(len(task.result()))
            self._note_pace(started_s, len(task.result()))
            keep_late(task.result())

        if len(self._late) >= _LATE_MAX:
            call.cancel()
            return
        self._late.add(call)
        call.add_done_callback(ended)

    def _note_pace(self, started_s: float, questions: int) -> None:
        took_s = self._clock() - started_s
        if took_s >= self._settings.slow_s and self._seldom.due():
            _log.warning("the predictor is slow", extra={"seconds": round(took_s, 3), "questions": questions, "not_told": self._seldom.left_out()})

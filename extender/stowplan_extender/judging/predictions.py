"""Predictions: answers of the predictor, remembered while they are fresh.

Equal questions have equal answers within one bundle version, so an answer is used again without asking for `reuse_s`. While nobody answers,
the last known one serves up to `keep_s`. Bundle versions never mix: an answer by another bundle throws away what the former one said.

An answer that comes later than a filter waits (`askings`) is remembered all the same.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from stowplan_fleet.answers import Answer, UnknownReason
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import PredictorUnavailable
from stowplan_fleet.predictors import Predictor
from stowplan_fleet.slices import DeviceName

from stowplan_extender.decision.inquiries import Inquiry
from stowplan_extender.judging.askings import Asking
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import PredictorSettings

_log = logging.getLogger(__name__)

FindDevice = Callable[[DeviceName], Device | None]


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of asking."""

    answers: Mapping[Inquiry, Answer]
    """What nobody could answer is missing here."""
    fresh: bool
    """False where the predictor did not answer, so that old answers stand in, or none; or where the answers were overtaken by a change."""


@dataclass(frozen=True, slots=True)
class _Held:
    answer: Answer
    at_s: float


class Predictions:
    """What the predictor said, and the one place that asks it."""

    def __init__(self, predictor: Predictor, find_device: FindDevice, settings: PredictorSettings, clock: Callable[[], float], metrics: Metrics) -> None:
        """Starts with nothing remembered; `clock` counts monotonic seconds."""
        self._asking = Asking(predictor, settings, clock, metrics)
        self._find_device = find_device
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._held: dict[Inquiry, _Held] = {}
        self._bundles: dict[str, str] = {}
        self.epoch = 0
        """Grows whenever something remembered became wrong: verdicts that rest on an earlier epoch are worth nothing."""

    async def answers(self, inquiries: Collection[Inquiry]) -> Answered:
        """Answers, from memory or from the predictor (one call per runtime)."""
        now = self._clock()
        known: dict[Inquiry, Answer] = {}
        wanted: dict[str, list[Inquiry]] = {}
        for inquiry in inquiries:
            held = self._held.get(inquiry)
            if held is not None and now - held.at_s < self._settings.reuse_s:
                known[inquiry] = held.answer
            else:
                wanted.setdefault(inquiry.runtime, []).append(inquiry)
        if not wanted:
            return Answered(known, fresh=True)
        parts = await asyncio.gather(*(self._ask(runtime, asked) for runtime, asked in wanted.items()))
        for part in parts:
            known.update(part.answers)
        return Answered(known, fresh=all(part.fresh for part in parts))

    def forget_device(self, name: DeviceName) -> None:
        """A device's descriptor changed: what was said about its slices no longer holds."""
        self._drop(lambda inquiry, _: inquiry.question.subject.slice_class.device == name)

    async def _ask(self, runtime: str, asked: Sequence[Inquiry]) -> Answered:
        names = {inquiry.question.subject.slice_class.device for inquiry in asked}
        devices = {name: device for name in sorted(names) if (device := self._find_device(name)) is not None}
        epoch = self.epoch

        def is_current() -> bool:
            # What changed while we waited was not in the question.
            return epoch == self.epoch and all(self._find_device(name) == devices.get(name) for name in names)

        def keep_late(answers: Sequence[Answer]) -> None:
            if is_current():
                self._keep(runtime, asked, answers, current=True)

        try:
            answers = await self._asking.ask([inquiry.question for inquiry in asked], devices, runtime, keep_late)
        except PredictorUnavailable as error:
            _log.warning("the predictor does not answer; using what it said before", extra={"runtime": runtime, "error": str(error)})
            return Answered(self._remembered(asked), fresh=False)
        current = is_current()
        self._keep(runtime, asked, answers, current=current)
        return Answered(dict(zip(asked, answers, strict=True)), fresh=current)

    def _keep(self, runtime: str, asked: Sequence[Inquiry], answers: Sequence[Answer], *, current: bool) -> None:
        self._note_bundles(runtime, answers)
        self._note_unfit(runtime, answers)
        now = self._clock()
        for inquiry, answer in zip(asked, answers, strict=True):
            # The operator pushes a missing graph again within seconds: that answer is true only now.
            if current and answer.unknown_reason is not UnknownReason.GRAPH_NOT_FOUND:
                self._held[inquiry] = _Held(answer, now)
        self._trim(now)

    def _remembered(self, asked: Sequence[Inquiry]) -> Mapping[Inquiry, Answer]:
        now = self._clock()
        held = {inquiry: self._held[inquiry] for inquiry in asked if inquiry in self._held}
        usable = {inquiry: item.answer for inquiry, item in held.items() if now - item.at_s < self._settings.keep_s}
        self._metrics.degraded.labels("remembered").inc(len(usable))
        self._metrics.degraded.labels("unanswered").inc(len(asked) - len(usable))
        return usable

    def _note_bundles(self, runtime: str, answers: Sequence[Answer]) -> None:
        for bundle in {answer.bundle for answer in answers if answer.bundle}:
            before = self._bundles.get(runtime)
            if before != bundle:
                self._bundles[runtime] = bundle
                if before is not None:
                    self._metrics.bundle_changes.inc()
                    _log.warning("another bundle answers", extra={"runtime": runtime, "before": before, "now": bundle})
                    self._drop(lambda inquiry, held: inquiry.runtime == runtime and held.answer.bundle != self._bundles[runtime])

    def _note_unfit(self, runtime: str, answers: Sequence[Answer]) -> None:
        unfit = sum(answer.unknown_reason is UnknownReason.PREDICTION_NOT_FINITE for answer in answers)
        if unfit:
            self._metrics.degraded.labels("not finite").inc(unfit)
            _log.warning("the predictor gives numbers that are no durations; they count as unknown", extra={"runtime": runtime, "answers": unfit})

    def _drop(self, wrong: Callable[[Inquiry, _Held], bool]) -> None:
        self._held = {inquiry: held for inquiry, held in self._held.items() if not wrong(inquiry, held)}
        self.epoch += 1

    def _trim(self, now: float) -> None:
        """Keeps memory bounded: first what is too old to serve goes, then what was answered longest ago."""
        if len(self._held) <= self._settings.remembered_max:
            return
        kept = [(inquiry, held) for inquiry, held in self._held.items() if now - held.at_s < self._settings.keep_s]
        kept.sort(key=lambda item: item[1].at_s)
        self._held = dict(kept[-self._settings.remembered_max // 2 :])

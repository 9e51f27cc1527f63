"""Wake-ups: a pod that only we refused is touched as soon as a node would take it.

kube-scheduler tries a refused pod again when something it watches changes, else after five minutes. What changes our verdicts is often nothing it watches: an
objective that was relaxed, a descriptor that was added, a prediction that moved. So pods that a filter left without a node are judged again every few seconds
and, where a node would take one now, its retry annotation is written: an update of the pod is such a change.

Whom a former process refused, nobody here remembers, and the scheduler beside us does not ask again: so whoever waits when the view is first complete is
looked at once, too (`adopt`).
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.errors import FleetError

from stowplan_extender.apiserver.podcalls import PodCalls
from stowplan_extender.binding.leaderships import Leadership
from stowplan_extender.cluster import lodgings
from stowplan_extender.cluster.lodgings import PodRecord
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.decision.occupancies import PodUid
from stowplan_extender.errors import ExtenderError
from stowplan_extender.judging.judgements import Judge
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import WakeUpSettings

_log = logging.getLogger(__name__)
# Of the pods that wait: a filter refuses few at a time, and a cluster that is full of waiting pods needs nodes, not touches.
_SLEEPERS_MAX: Final = 4_096


@dataclass(slots=True)
class _Sleeper:
    since_s: float
    touched_s: float | None = None
    adopted: bool = False
    """Found waiting, not refused here: perhaps it waits for something that is none of our business, so it is touched once."""


class WakeUps:
    """Remembers whom filters refused everywhere, and wakes them."""

    def __init__(
        self,
        view: ClusterView,
        judge: Judge,
        calls: PodCalls,
        leadership: Leadership,
        *,
        settings: WakeUpSettings,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        """`clock` counts monotonic seconds."""
        self._view, self._judge, self._calls, self._leadership = view, judge, calls, leadership
        self._settings, self._clock, self._metrics = settings, clock, metrics
        self._sleepers: dict[PodUid, _Sleeper] = {}

    def filtered(self, uid: PodUid, refused: bool) -> None:  # noqa: FBT001 - a listener's signature
        """Notes how a filter ended for a pod."""
        if not refused:
            self._sleepers.pop(uid, None)
            return
        known = self._sleepers.get(uid)
        if known is not None:
            known.adopted = False
        elif len(self._sleepers) < _SLEEPERS_MAX:
            self._sleepers[uid] = _Sleeper(self._clock())

    def adopt(self) -> None:
        """Takes on the pods that were found unschedulable before we were here."""
        for record in self._view.pending():
            if record.unschedulable and record.uid not in self._sleepers and len(self._sleepers) < _SLEEPERS_MAX:
                self._sleepers[record.uid] = _Sleeper(self._clock(), adopted=True)

    @property
    def sleeping(self) -> int:
        """How many pods wait."""
        return len(self._sleepers)

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.sleep(self._settings.every_s)
            await self.look()

    async def look(self) -> None:
        """Judges every sleeper once, and touches those that a node would take."""
        waiting = {record.uid: record for record in self._view.pending()}
        for uid, sleeper in list(self._sleepers.items()):
            now = self._clock()
            if uid not in waiting:
                # The scheduler's watch may be ahead of ours: who is not seen yet is not forgotten at once.
                if self._view.pod(uid) is not None or now - sleeper.since_s >= self._settings.again_s:
                    self._sleepers.pop(uid, None)
                continue
            # One that was refused only now is the scheduler's to try; one that was touched gets time to be tried.
            early = now - sleeper.since_s < self._settings.every_s or (sleeper.touched_s is not None and now - sleeper.touched_s < self._settings.again_s)
            if early or not await self._fits(waiting[uid]):
                continue
            if not await self._touch(waiting[uid]):
                return
            sleeper.touched_s = now
            if sleeper.adopted:
                self._sleepers.pop(uid, None)

    async def _fits(self, record: PodRecord) -> bool:
        try:
            newcomer = lodgings.newcomer_of(record, self._view.service)
            return (await self._judge.rule(newcomer, self._view.node_names())).fits
        except (ExtenderError, FleetError):
            # What cannot be judged is not woken: its own filter says why.
            return False

    async def _touch(self, record: PodRecord) -> bool:
        """Writes the annotation; answers whether it makes sense to go on."""
        try:
            await self._leadership.check()
            namespace, _, name = record.name.partition("/")
            await self._calls.touch(namespace, name, record.uid)
        except (ExtenderError, FleetError) as error:
            _log.warning("cannot wake a pod; tried again", extra={"pod": record.name, "error": str(error)})
            self._metrics.wake_ups.labels("failed").inc()
            return False
        _log.info("woken: a node would take it now", extra={"pod": record.name})
        self._metrics.wake_ups.labels("woken").inc()
        return True

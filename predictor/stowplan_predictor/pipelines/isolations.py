"""Isolated service times of (graph, slice) pairs, computed once each: a judge is asked for all that are missing at once."""

from collections.abc import Iterable
from typing import Any, Final

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import SliceClass

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.workloads import Workloads
from stowplan_predictor.pipelines.analyses import Analyses
from stowplan_predictor.pipelines.caches import LruCache
from stowplan_predictor.pipelines.footprints import footprint_bytes
from stowplan_predictor.pipelines.judges import Judge, Run

# A run or a refusal with its place, arrays and reasons apart.
_RUN_BYTES: Final = 1500

# With the device as the judge named it.
Place = tuple[GraphDigest, SliceClass, Any]


def _run_bytes(outcome: Run | CannotJudge) -> int:
    return _RUN_BYTES + (len(outcome.message) if isinstance(outcome, CannotJudge) else footprint_bytes(outcome.isolated))


class Isolations:
    """Runs by place, computed once. Thread-safe: a run computed twice is the same run."""

    def __init__(self, judge: Judge, analyses: Analyses, isolations_bytes: int) -> None:
        self._judge = judge
        self._analyses = analyses
        self._runs: LruCache[Place, Run | CannotJudge] = LruCache(isolations_bytes, lambda _, outcome: _run_bytes(outcome))

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return self._runs.bytes

    def prepare(self, places: Iterable[Place]) -> dict[Place, Run | CannotJudge]:
        """A run, or why there is none, for each place."""
        wanted = list(dict.fromkeys(places))
        found = {place: run for place in wanted if (run := self._runs.get(place)) is not None}
        missing = [place for place in wanted if place not in found]
        found.update(self._compute(missing))
        for place in missing:
            outcome = found[place]
            # What this process has not analysed yet may be analysed the next moment.
            if not (isinstance(outcome, CannotJudge) and outcome.reason is UnknownReason.GRAPH_NOT_FOUND):
                self._runs.put(place, outcome)
        return found

    def _compute(self, places: list[Place]) -> dict[Place, Run | CannotJudge]:
        found: dict[Place, Run | CannotJudge] = {}
        parts: dict[Place, Workloads] = {}
        for place in places:
            try:
                parts[place] = self._analyses.work(place[0], self._judge.cut(place[2]))
            except CannotJudge as error:
                found[place] = error
        outcomes = self._judge.runs([(work, place[1], place[2]) for place, work in parts.items()])
        return found | dict(zip(parts, outcomes, strict=True))

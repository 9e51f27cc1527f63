"""How long measuring takes: before a campaign, by what tasks took on the machine of the first data set, and while it runs, by what they take here."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from stowplan_predictor.training.campaigns.plans import PROFILED_VISITS, Task

# Seconds a task, starting its processes included: means over the tasks of the first data set (two cores of an AMD EPYC, shared with other guests).
_MEANS_S: Final = {"visit": 4.0, "network": 4.3, "randoms": 9.9, "isolated": 17.5, "pair": 8.0, "load": 70.0}
_PROFILED_VISIT_S: Final = 5.7


def expected_s(task: Task) -> float:
    """What a task takes where nobody knows better."""
    return _PROFILED_VISIT_S if task.kind == "visit" and task.repeat in PROFILED_VISITS else _MEANS_S[task.kind]


def expected_hours(tasks: Iterable[Task]) -> float:
    """What tasks take one after the other."""
    return sum(map(expected_s, tasks)) / 3600


def outlook(left: Sequence[Task]) -> str:
    """What is still to be measured, in a sentence."""
    return f"{len(left)} tasks are left: about {expected_hours(left):.1f} hours of measuring where nothing else runs" if left else "nothing is left to measure"


@dataclass(slots=True)
class Clock:
    """How long is left, and how long tasks of a kind take here."""

    deadline: float
    durations: dict[str, list[float]] = field(default_factory=dict)

    def fits(self, task: Task, now: float) -> bool:
        """True where a task of that kind is expected to end before the deadline."""
        known = self.durations.get(task.kind)
        return now + (statistics.fmean(known) if known else expected_s(task)) <= self.deadline

    def record(self, task: Task, seconds: float) -> None:
        """Learns from a task that ended."""
        self.durations.setdefault(task.kind, []).append(seconds)

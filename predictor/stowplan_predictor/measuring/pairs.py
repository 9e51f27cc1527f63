"""Two networks side by side: each in its own process on its own cores, back to back, against itself alone moments before and after.

What they share is the last cache and the memory bandwidth. The degradation is a ratio taken within one session, so that slow drifts of the machine drop out.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stowplan_fleet.slices import Slice

from stowplan_predictor.errors import MeasurementError
from stowplan_predictor.measuring import networks, noises, processes
from stowplan_predictor.measuring.distributions import Distribution
from stowplan_predictor.measuring.locks import machine_lock

# The tenant runs this much longer on both sides, so that the subject is never measured beside a silent one.
_PAD_S: Final = 0.1
# Alone after against alone before: beyond this the machine itself changed in between.
_MAX_DRIFT: Final = 0.05
# Time for a command to reach both processes before the window begins.
_LEAD_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class PairRules:
    """How long a pair is looked at; the defaults keep one pair of fast networks within about 5 s a session."""

    max_attempts: int = 3
    """Sessions: they are longer than sample sets of single networks, so fewer."""
    min_runs: int = 15
    """Of the slower network, beside the other."""
    min_window_s: float = 0.8
    max_window_s: float = 6.0
    alone_min_s: float = 0.5
    alone_max_s: float = 4.0


@dataclass(frozen=True, slots=True)
class PairHalf:
    """One of the two, alone and beside the other."""

    alone: Distribution
    """Of the window before."""
    beside: Distribution
    drift: float
    """Median alone after over median alone before."""

    @property
    def ratio(self) -> float:
        """Degradation: median beside over median alone (the mean of before and after)."""
        return self.beside.median_ms / (self.alone.median_ms * (1.0 + self.drift) / 2.0)


@dataclass(frozen=True, slots=True)
class PairMeasurement:
    """Both directions of one pair."""

    halves: tuple[PairHalf, PairHalf]
    foreign_share: float
    steal_share: float
    attempts: int
    noisy: bool
    measured_at: str


def measure_pair(
    models: tuple[bytes | Path, bytes | Path],
    slices: tuple[Slice, Slice],
    input_shapes: tuple[Mapping[str, tuple[int, ...]], Mapping[str, tuple[int, ...]]] = ({}, {}),
    *,
    rules: PairRules | None = None,
    wait_s: float = 600.0,
    on_wait: Callable[[str], None] | None = None,
) -> PairMeasurement:
    """Degradation of each of two networks beside the other, on separate cores.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        CgroupUnavailable: a slice is fractional and no quota can be set here.
        RuntimeRefused: the runtime cannot run one of them.
        MeasurementError: the machine has too few cores for both.
    """
    rules = rules or PairRules()
    first_cores, second_cores = (processes.cores_of(part) for part in slices)
    if len(processes.placed_cpus(first_cores + second_cores)) < first_cores + second_cores:
        raise MeasurementError(f"{slices[0]} beside {slices[1]} needs {first_cores + second_cores} cores; measure this pair on a larger machine")
    with (
        machine_lock(wait_s, on_wait),
        networks.model_file(models[0]) as one,
        networks.model_file(models[1]) as two,
        networks.opened(one, slices[0], input_shapes[0]) as (first, _),
        networks.opened(two, slices[1], input_shapes[1], skip_cpus=first_cores) as (second, _),
    ):
        workers = (first, second)
        for worker in workers:
            worker.ask("warm_up", timeout_s=120, min_runs=3, min_s=0.15)
        sets: list[dict[str, Any]] = []
        while len(sets) < rules.max_attempts:
            sets.append(_session(workers, rules))
            if sets[-1]["disturbance"] <= 1.0:
                break
        best = min(sets, key=lambda taken: float(taken["disturbance"]))
        return PairMeasurement(best["halves"], best["foreign"], best["steal"], len(sets), best["disturbance"] > 1.0, processes.now_utc())


def _session(workers: tuple[processes.Worker, processes.Worker], rules: PairRules) -> dict[str, Any]:
    before = [_alone(worker, rules) for worker in workers]
    slower_ms = max(networks.distribution_of(taken).median_ms for taken in before)
    # Beside each other both may take twice as long; the window must still hold enough runs.
    window_s = min(rules.max_window_s, max(rules.min_window_s, 2 * rules.min_runs * slower_ms / 1e3))
    times = noises.cpu_times()
    own_before = time.process_time()
    start_at = time.monotonic() + _LEAD_S + _PAD_S
    for worker in workers:
        worker.tell("sample", min_runs=0, min_s=0, max_s=0, start_at=start_at, stop_at=start_at + window_s, pad_s=_PAD_S)
    beside = [worker.hear("sample", timeout_s=window_s * 3 + 60) for worker in workers]
    own_s = sum(taken["own_s"] for taken in beside) + time.process_time() - own_before
    together = noises.noise_between(times, noises.cpu_times(), own_s)
    after = [_alone(worker, rules) for worker in workers]
    halves = tuple(
        PairHalf(
            networks.distribution_of(before[side]),
            networks.distribution_of(beside[side]),
            networks.distribution_of(after[side]).median_ms / networks.distribution_of(before[side]).median_ms,
        )
        for side in (0, 1)
    )
    foreign = max([together.foreign_share, *(taken["foreign_share"] for taken in (*before, *after))])
    steal = max([together.steal_share, *(taken["steal_share"] for taken in (*before, *after))])
    drift = max(abs(half.drift - 1.0) for half in halves)
    return {
        "halves": halves,
        "foreign": foreign,
        "steal": steal,
        "disturbance": max(foreign / noises.LIMIT, steal / noises.LIMIT, drift / _MAX_DRIFT),
    }


def _alone(worker: processes.Worker, rules: PairRules) -> dict[str, Any]:
    return worker.ask("sample", timeout_s=60, min_runs=10, min_s=rules.alone_min_s, max_s=rules.alone_max_s)

"""Two networks side by side: each in its own process on its own cores, back to back, against itself alone moments before and after.

What they share is the last cache and the memory bandwidth (and, on a virtual machine, whatever the host makes of its cores). The degradation is a ratio taken
within one round of alone, beside, alone, so that slow drifts of the machine drop out; the median of several rounds counts, so that one odd round does too.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median_low, quantiles
from typing import Any, Final

from stowplan_fleet.slices import Slice

from stowplan_predictor.errors import MeasurementError
from stowplan_predictor.measuring import networks, noises, processes
from stowplan_predictor.measuring.distributions import Distribution
from stowplan_predictor.measuring.locks import machine_lock

# The tenant runs this much longer on both sides, so that the subject is never measured beside a silent one.
_PAD_S: Final = 0.1
# Upper quartile of the ratios less the lower one, over rounds: beyond this the rounds do not tell one story.
_MAX_SPREAD: Final = 0.10
# Quartiles of fewer ratios mean nothing.
_LEAST_ROUNDS: Final = 3
# Time for a command to reach both processes before the window begins.
_LEAD_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class PairRules:
    """How long a pair is looked at; the defaults take about 1.5 s a round for fast networks."""

    rounds: int = 7
    budget_s: float = 12.0
    """No round is begun after it, once there are three."""
    min_runs: int = 10
    """Of the slower network, beside the other."""
    min_window_s: float = 0.4
    max_window_s: float = 4.0
    alone_min_s: float = 0.2
    alone_max_s: float = 3.0


@dataclass(frozen=True, slots=True)
class PairHalf:
    """One of the two, alone and beside the other; distributions are those of the round with the median ratio."""

    alone: Distribution
    """Of the window before."""
    beside: Distribution
    drift: float
    """Median alone after over median alone before, in that round."""
    ratio: float
    """Degradation: median beside over median alone (the mean of before and after); the median over rounds."""
    spread: float
    """Upper quartile of the ratios less the lower one, over rounds."""


@dataclass(frozen=True, slots=True)
class PairMeasurement:
    """Both directions of one pair."""

    halves: tuple[PairHalf, PairHalf]
    foreign_share: float
    """Mean over rounds."""
    steal_share: float
    rounds: int
    noisy: bool
    """True where others disturbed the rounds, or the rounds differ too much."""
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
        began = time.monotonic()
        rounds = [_round(workers, rules)]
        while len(rounds) < rules.rounds and (len(rounds) < _LEAST_ROUNDS or time.monotonic() - began < rules.budget_s):
            rounds.append(_round(workers, rules))
    halves = (_half([taken["sides"][0] for taken in rounds]), _half([taken["sides"][1] for taken in rounds]))
    noise = noises.Noise(fmean(taken["noise"].foreign_share for taken in rounds), fmean(taken["noise"].steal_share for taken in rounds))
    noisy = not noise.acceptable or max(half.spread for half in halves) > _MAX_SPREAD
    return PairMeasurement(halves, noise.foreign_share, noise.steal_share, len(rounds), noisy, processes.now_utc())


def _half(rounds: Sequence[tuple[Distribution, Distribution, Distribution]]) -> PairHalf:
    """The middle of several rounds of one network."""
    ratios = [2.0 * beside.median_ms / (before.median_ms + after.median_ms) for before, beside, after in rounds]
    middle = ratios.index(median_low(ratios))
    before, beside, after = rounds[middle]
    lower, _, upper = quantiles(ratios, n=4, method="inclusive")
    return PairHalf(before, beside, after.median_ms / before.median_ms, ratios[middle], upper - lower)


def _round(workers: tuple[processes.Worker, processes.Worker], rules: PairRules) -> dict[str, Any]:
    times, own_before = noises.cpu_times(), time.process_time()
    before = [_alone(worker, rules) for worker in workers]
    slower_ms = max(networks.distribution_of(taken).median_ms for taken in before)
    # Beside each other both may take twice as long; the window must still hold enough runs.
    window_s = min(rules.max_window_s, max(rules.min_window_s, 2 * rules.min_runs * slower_ms / 1e3))
    start_at = time.monotonic() + _LEAD_S + _PAD_S
    for worker in workers:
        worker.tell("sample", min_runs=0, min_s=0, max_s=0, start_at=start_at, stop_at=start_at + window_s, pad_s=_PAD_S)
    beside = [worker.hear("sample", timeout_s=window_s * 3 + 60) for worker in workers]
    after = [_alone(worker, rules) for worker in workers]
    own_s = sum(taken["own_s"] for taken in (*before, *beside, *after)) + time.process_time() - own_before
    sides = [tuple(networks.distribution_of(taken[side]) for taken in (before, beside, after)) for side in (0, 1)]
    return {"sides": sides, "noise": noises.noise_between(times, noises.cpu_times(), own_s)}


def _alone(worker: processes.Worker, rules: PairRules) -> dict[str, Any]:
    return worker.ask("sample", timeout_s=60, min_runs=8, min_s=rules.alone_min_s, max_s=rules.alone_max_s)

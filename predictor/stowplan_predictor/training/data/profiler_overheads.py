"""What the profiler adds to each kernel, fitted from pairs of a profile and the unprofiled runs next to it.

The profiler's own clock calls and records lie partly inside the times that it reports, about half a microsecond to two a kernel on one core and more on
several, where it also asks the pool of threads what each did; that is nothing to a convolution and everything to a scalar. Per slice, over all networks and
kernels that were measured both ways,

    sum of profiled kernels - unprofiled run = kernel_us * kernels - session_us,

because the run also holds the session's entry and exit. What the executor needs between two kernels lies in the run and not in the profile; `kernel_us` is net
of it, so that corrected kernels and the session add up to the run. Fitted by iteratively reweighted least squares (Huber, 1964): neighbours of the machine
disturb one of the two now and then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.generated_rows import RandomRow
from stowplan_predictor.training.data.rows import KernelRow, NetworkRow

# Two measurements of the same thing, seconds apart, differ by about this share of them, and by this much at least.
_SHARE: Final = 0.04
_LEAST_US: Final = 0.5
# Tuning constant of Huber's weights: 95 % efficient on normal errors.
_HUBER: Final = 1.345
_ITERATIONS: Final = 50
# Fewer pairs than this fit nothing.
LEAST_PAIRS: Final = 20
# Of its time, what a correction leaves a kernel at least: a kernel never takes nothing.
_LEAST_LEFT: Final = 0.2


@dataclass(frozen=True, slots=True)
class Pair:
    """One network or kernel measured both ways."""

    network: str
    slice: str
    kernels: int
    """Kernels that the runtime ran."""
    profiled_us: float
    run_us: float


@dataclass(frozen=True, slots=True)
class ProfilerOverhead:
    """Of one slice."""

    kernel_us: float
    """Added to each kernel, net of what the executor needs between kernels."""
    session_us: float
    """Entry and exit of a run, which no kernel holds."""
    pairs: int
    median_error_percent: float
    """Of the corrected sum against the run, absolutely."""
    uncorrected_median_error_percent: float

    def corrected_us(self, profiled_us: float, kernels: int = 1) -> float:
        """Profiled time of some kernels without what the profiler added."""
        return max(_LEAST_LEFT * profiled_us, profiled_us - self.kernel_us * kernels)


def pairs(dataset: Dataset) -> Iterator[Pair]:
    """Every profile with the unprofiled runs next to it, and every isolated kernel."""
    alone: list[NetworkRow | RandomRow] = [*dataset.networks, *dataset.randoms]
    runs = {(row.network, row.slice, row.repeat): row.median_ms for row in alone}
    profiles: dict[tuple[str, str, int], list[KernelRow]] = {}
    for kernel in dataset.kernels:
        profiles.setdefault((kernel.network, kernel.slice, kernel.repeat), []).append(kernel)
    for key, rows in profiles.items():
        if key in runs:
            yield Pair(key[0], key[1], len(rows), sum(row.median_us for row in rows), runs[key] * 1e3)
    quietest: dict[tuple[str, str], Pair] = {}
    for row in dataset.isolated:
        pair = Pair(row.network, row.slice, len(row.op_types), row.profiled_us, row.median_us)
        before = quietest.setdefault((row.network, row.slice), pair)
        if pair.run_us < before.run_us:
            quietest[row.network, row.slice] = pair
    yield from quietest.values()


def fit(dataset: Dataset) -> dict[str, ProfilerOverhead]:
    """Overhead of each slice that was profiled often enough."""
    by_slice: dict[str, list[Pair]] = {}
    for pair in pairs(dataset):
        by_slice.setdefault(pair.slice, []).append(pair)
    return {name: fit_pairs(some) for name, some in sorted(by_slice.items()) if len(some) >= LEAST_PAIRS}


def fit_pairs(some: list[Pair]) -> ProfilerOverhead:
    """Overhead of one slice.

    Raises:
        ValueError: there are too few pairs.
    """
    if len(some) < LEAST_PAIRS:
        raise ValueError(f"{len(some)} pairs of a profile and a run; {LEAST_PAIRS} are needed")
    kernels = np.array([pair.kernels for pair in some], np.float64)
    profiled = np.array([pair.profiled_us for pair in some])
    runs = np.array([pair.run_us for pair in some])
    kernel_us, session_us = _robust(kernels, profiled - runs, _LEAST_US + _SHARE * runs)
    corrected = profiled - kernel_us * kernels + session_us
    return ProfilerOverhead(
        kernel_us=round(kernel_us, 3),
        session_us=round(session_us, 3),
        pairs=len(some),
        median_error_percent=round(100 * float(np.median(np.abs(corrected / runs - 1))), 2),
        uncorrected_median_error_percent=round(100 * float(np.median(np.abs(profiled / runs - 1))), 2),
    )


def _robust(kernels: NDArray[np.float64], difference: NDArray[np.float64], scale: NDArray[np.float64]) -> tuple[float, float]:
    """Of a kernel and of the session; where only large networks were measured the session's share cannot be told, and is nothing rather than negative."""
    both = _huber(np.column_stack([kernels, -np.ones_like(kernels)]) / scale[:, None], difference / scale)
    if both[1] >= 0:
        return float(both[0]), float(both[1])
    return float(_huber((kernels / scale)[:, None], difference / scale)[0]), 0.0


def _huber(columns: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.ones(len(target))
    solution: NDArray[np.float64] = np.zeros(columns.shape[1])
    for _ in range(_ITERATIONS):
        root = np.sqrt(weights)
        solution = np.asarray(np.linalg.lstsq(columns * root[:, None], target * root, rcond=None)[0], np.float64)
        residual: NDArray[np.float64] = np.abs(target - columns @ solution)
        spread = max(1e-9, 1.4826 * float(np.median(residual)))
        weights = np.asarray(np.minimum(1.0, _HUBER * spread / np.maximum(residual, 1e-12)), np.float64)
    return solution

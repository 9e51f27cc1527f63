"""The floor: what one gets without looking at kernels. Every prediction comes from folds without the case's family."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.training.network_cases import Case
from stowplan_predictor.training.regressions import non_negative


def _held_out(cases: Sequence[Case], design: NDArray[np.float64]) -> list[float]:
    """Non-negative least squares of relative errors, per slice and held-out fold: a plain fit would be negative for small networks.

    Brought to a median ratio of 1, as our own fit is.
    """
    truth = np.array([case.measured.truth_ms for case in cases])
    found = np.full(len(cases), np.nan)
    for name in {case.slice for case in cases}:
        for fold in {case.fold for case in cases}:
            own = np.array([case.slice == name for case in cases])
            test = own & np.array([case.fold == fold for case in cases])
            train = own & ~test
            if train.any() and test.any():
                weights = non_negative(design[train] / truth[train, None], np.ones(int(train.sum())))
                centre = np.median(truth[train] / np.maximum(design[train] @ weights, 1e-9))
                found[test] = centre * (design[test] @ weights)
    return [float(value) for value in found]


def flops_regression(cases: Sequence[Case]) -> list[float]:
    """Linear in FLOPs, in milliseconds."""
    return _held_out(cases, np.array([[case.sample.flops, 1.0] for case in cases]))


def flops_and_parameters_regression(cases: Sequence[Case]) -> list[float]:
    """Linear in FLOPs and parameters, in milliseconds."""
    return _held_out(cases, np.array([[case.sample.flops, case.sample.parameters, 1.0] for case in cases]))


def mean_latency(cases: Sequence[Case]) -> list[float]:
    """The same for every network: geometric mean of the other folds on that slice."""
    found = []
    for case in cases:
        others = [other.measured.truth_ms for other in cases if other.slice == case.slice and other.fold != case.fold]
        found.append(float(np.exp(np.mean(np.log(others)))) if others else float("nan"))
    return found

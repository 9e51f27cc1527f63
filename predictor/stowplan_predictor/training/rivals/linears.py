"""Linear regression on FLOPs and parameters: the baseline of every paper on this subject.

Fitted for each slice by non-negative least squares of *relative* errors and then brought to a median ratio of 1: the plain fit of milliseconds, as published,
predicts negative latencies for small networks and is worse by every figure of ours. Fitted for each kind of network apart (published, fully connected,
convolutional): one line through all of them serves none.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.training.harness.cases import Case, kind
from stowplan_predictor.training.kernels.regressions import non_negative

# As many as there are coefficients, twice: fewer say nothing of a slice.
_LEAST_CASES: Final = 6


def _design(cases: Sequence[Case]) -> NDArray[np.float64]:
    """(cases, 3): FLOPs, parameters, one."""
    return np.array([[case.sample.flops, case.sample.parameters, 1.0] for case in cases], dtype=np.float64).reshape(len(cases), 3)


def _fitted(train: Sequence[Case]) -> NDArray[np.float64]:
    truth = np.array([case.truth_ms for case in train])
    design = _design(train)
    weights = non_negative(design / truth[:, None], np.ones(len(train)))
    return weights * np.median(truth / np.maximum(design @ weights, 1e-9))


def fit_predict(train: Sequence[Case], test: Sequence[Case], seed: int) -> NDArray[np.float64]:  # noqa: ARG001 - least squares draw nothing
    """Milliseconds; a slice with too few cases of a kind is fitted over all kinds, and one with too few of any over all slices."""
    weights: dict[tuple[str, str], NDArray[np.float64]] = {}
    for key in sorted({(case.slice, kind(case)) for case in test}):
        on_slice = [case for case in train if case.slice == key[0]]
        alike = [case for case in on_slice if kind(case) == key[1]]
        weights[key] = _fitted(next((part for part in (alike, on_slice) if len(part) >= _LEAST_CASES), train))
    return np.array([float(row @ weights[case.slice, kind(case)]) for row, case in zip(_design(test), test, strict=True)])

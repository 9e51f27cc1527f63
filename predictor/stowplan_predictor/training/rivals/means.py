"""The floor of floors: every network takes as long as the others of its kind took."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.training.harness.cases import Case, kind, log_truths


def fit_predict(train: Sequence[Case], test: Sequence[Case], seed: int) -> NDArray[np.float64]:  # noqa: ARG001 - a mean draws nothing
    """Geometric mean of the training latencies on the case's slice, of its kind of network where there are any, in milliseconds."""
    logs = log_truths(train)

    def mean(case: Case) -> float:
        own = np.array([other.slice == case.slice for other in train])
        alike = own & np.array([other.sample.split == kind(case) for other in train])
        chosen = next(mask for mask in (alike, own, np.ones(len(train), dtype=np.bool_)) if mask.any())
        return float(np.exp(logs[chosen].mean()))

    known: dict[tuple[str, str], float] = {}
    for case in test:
        key = (case.slice, kind(case))
        if key not in known:
            known[key] = mean(case)
    return np.array([known[case.slice, kind(case)] for case in test])

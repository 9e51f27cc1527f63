"""What whole-network rivals learn from and are asked: a network on a slice, with its measured latency."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.training.data.folds import ISOLATED, LIGHT
from stowplan_predictor.training.data.measurements import Measured
from stowplan_predictor.training.data.samples import Sample


@dataclass(frozen=True, slots=True)
class Case:
    """One network on one slice."""

    sample: Sample
    slice: str

    @property
    def measured(self) -> Measured:
        """What was measured there."""
        return self.sample.measured[self.slice]

    @property
    def truth_ms(self) -> float:
        """What is to be predicted; asked of training cases only."""
        return self.measured.truth_ms


def kind(case: Case) -> str:
    """Which training networks a case resembles: those of its split; the light models are published networks, as the zoo is."""
    return "zoo" if case.sample.split == LIGHT else case.sample.split


# A rival: learns from some cases and predicts the latency of others, in milliseconds and in their order. The same seed gives the same numbers.
FitPredict = Callable[[Sequence[Case], Sequence[Case], int], NDArray[np.float64]]


def cases(samples: Iterable[Sample]) -> list[Case]:
    """Every network on every slice it was measured on alone; isolated kernels are no networks."""
    return [Case(sample, name) for sample in samples if sample.split != ISOLATED for name, measured in sample.measured.items() if measured.visits]


def log_truths(found: Sequence[Case]) -> NDArray[np.float64]:
    """Natural logarithm of the measured milliseconds."""
    return np.log(np.array([case.truth_ms for case in found], dtype=np.float64))

"""Networks on slices, with what kernel models that never saw their families say of their kernels: what everything end to end is fitted on and judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.latencies import DeviceTable, Isolated, Run, dispatched
from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.kernels.summaries import summary
from stowplan_predictor.training.data.folds import ISOLATED, fold_of
from stowplan_predictor.training.data.measurements import Measured
from stowplan_predictor.training.data.samples import Sample

# How much all networks of a kind count together: published networks are what we are for, random ones are many. Kinds that are not there count nothing.
_KIND_WEIGHT: Final[Mapping[str, float]] = {"zoo": 1.0, "random": 0.15, "fnn": 0.3, "cnn": 0.3}


class KernelModel(Protocol):
    """What fitting networks needs of a fitted kernel model."""

    def efficiencies(self, sample: Sample, slice_: str) -> Efficiencies:
        """Of a sample's kernels on a slice.

        Raises:
            CannotJudge: a kernel nothing like which was measured.
        """
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """One network on one slice."""

    sample: Sample
    slice: str
    fold: int
    """The fold that its kernel model has not seen."""
    efficiencies: Efficiencies | None
    """None where a kernel cannot be judged."""
    refusal: str = ""

    @property
    def measured(self) -> Measured:
        """What was measured there."""
        return self.sample.measured[self.slice]

    @property
    def known(self) -> Efficiencies:
        """Efficiencies of a case that can be judged."""
        if self.efficiencies is None:
            raise ValueError(f"{self.sample.name} on {self.slice} cannot be judged: {self.refusal}")
        return self.efficiencies

    def run(self, table: DeviceTable) -> Run:
        """The sum over kernels with dispatch costs."""
        return dispatched(self.sample.work, self.measured.slice_, self.known, table)

    def numbers(self, table: DeviceTable) -> NDArray[np.float32]:
        """(len(SUMMARY),): the network on the slice as one row."""
        return summary(self.sample.work, self.measured.slice_, self.known, self.run(table).raw_ms)


@dataclass(frozen=True, slots=True)
class Judged:
    """A case with its prediction by a model that never saw its family."""

    case: Case
    isolated: Isolated

    @property
    def log_residual(self) -> float:
        """log(measured / predicted)."""
        return float(np.log(self.case.measured.truth_ms / self.isolated.median_ms))


def case(sample: Sample, slice_: str, fold: int, model: KernelModel) -> Case:
    """Kernel predictions for one network on one slice."""
    try:
        return Case(sample, slice_, fold, model.efficiencies(sample, slice_))
    except CannotJudge as error:
        return Case(sample, slice_, fold, None, error.message)


def cases(samples: Sequence[Sample], splits: Mapping[str, int], model: KernelModel) -> list[Case]:
    """Kernel predictions for networks on every slice they were measured on alone; isolated kernels are no networks."""
    found = []
    for sample in samples:
        fold = fold_of(sample, splits)
        if sample.split != ISOLATED and fold is not None:
            found += [case(sample, name, fold, model) for name, measured in sample.measured.items() if measured.visits]
    return found


def weights(some: Sequence[Case]) -> NDArray[np.float64]:
    """(cases,), mean 1: the kinds of networks balanced, and inside a kind each network on each slice alike."""
    kinds = [item.sample.split if item.sample.split in _KIND_WEIGHT else "zoo" for item in some]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    found = np.array([_KIND_WEIGHT[kind] / counts[kind] for kind in kinds])
    return np.asarray(found / found.mean())


def coverage(judged: Sequence[Judged]) -> float:
    """How often the interval held the truth; NaN for no case."""
    held = [item.isolated.interval.lower <= item.log_residual <= item.isolated.interval.upper for item in judged]
    return float(np.mean(held)) if held else float("nan")

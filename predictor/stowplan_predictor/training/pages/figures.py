"""Predictions joined with truths, and the figures of each system on each kind of network: what the tables of `docs/accuracy.md` show."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.training.judgements.predictions import PredictionRow
from stowplan_predictor.training.judgements.scores import Coverage, Score, coverage, mean_absolute_ms, score
from stowplan_predictor.training.pages.truths import Case, Truth

# What a row of predictions is called where nobody learned it.
AGAIN: Final = "measured again"
KERNELS: Final = "measured kernels"


@dataclass(frozen=True, slots=True)
class Group:
    """Networks that are judged together."""

    title: str
    split: str
    slice: str

    def of(self, truths: Mapping[Case, Truth]) -> list[Truth]:
        """Its networks."""
        return [truth for truth in truths.values() if truth.split == self.split and truth.slice == self.slice]


@dataclass(frozen=True, slots=True)
class Figure:
    """One system on one group."""

    group: Group
    system: str
    asked: int
    """Networks of the group that the system was asked about; fewer than there are where it was trained on some folds only."""
    of: int
    """Networks of the group."""
    score: Score
    coverage: Coverage | None
    mae_ms: float
    """Mean absolute error."""
    mae_over_mean: float
    """Over the mean latency of the group: what the papers report."""
    mae_over_mae_of_mean: float | None
    """Over the mean absolute error of the one who always says the mean latency of the other folds; None where there is no other fold."""


_TITLES: Final = {
    "zoo": "published networks",
    "fnn": "random fully connected",
    "cnn": "random convolutional",
    "random": "other random",
    "light": "light models",
}


def groups(truths: Mapping[Case, Truth], splits: Sequence[str]) -> list[Group]:
    """Every (split, slice) that holds a network, splits in the given order."""
    slices = sorted({truth.slice for truth in truths.values()}, key=lambda name: ("m" in name, name))
    held = {(truth.split, truth.slice) for truth in truths.values()}
    return [Group(f"{_TITLES.get(split, split)}, {slice_}", split, slice_) for split in splits for slice_ in slices if (split, slice_) in held]


def _mae_of_mean(some: Sequence[Truth]) -> float | None:
    """Mean absolute error of the arithmetic mean over the other folds."""
    errors = []
    for fold in {truth.fold for truth in some}:
        others = [truth.ms for truth in some if truth.fold != fold]
        if not others:
            return None
        mean = math.fsum(others) / len(others)
        errors += [abs(truth.ms - mean) for truth in some if truth.fold == fold]
    return math.fsum(errors) / len(errors)


def figure(group: Group, system: str, some: Sequence[Truth], rows: Mapping[Case, PredictionRow]) -> Figure | None:
    """One system on one group; None where it predicts none of its networks.

    Args:
        group: which.
        system: whose.
        some: the group's networks.
        rows: the system's predictions; a network without a row is not judged, one with a row without prediction counts as a miss.
    """
    asked = [truth for truth in some if truth.case in rows]
    own = [rows[truth.case] for truth in asked]
    measured, families = [truth.ms for truth in asked], [truth.family for truth in asked]
    predicted = [row.predicted_ms for row in own]
    if not any(value is not None for value in predicted):
        return None
    ends = [(row.lower_ms, row.upper_ms) if row.lower_ms is not None and row.upper_ms is not None else None for row in own]
    mae, mae_of_mean = mean_absolute_ms(measured, predicted), _mae_of_mean(some)
    return Figure(
        group=group,
        system=system,
        asked=len(asked),
        of=len(some),
        score=score(measured, predicted, families),
        coverage=coverage(measured, predicted, ends, families),
        mae_ms=mae,
        mae_over_mean=mae / (math.fsum(measured) / len(measured)),
        mae_over_mae_of_mean=None if not mae_of_mean else mae / mae_of_mean,
    )


def _oracle(group: Group, system: str, some: Sequence[Truth], pair: Callable[[Truth], tuple[float, float] | None]) -> Figure | None:
    """A figure of measured against measured, on the networks that have both."""
    pairs = [(truth, values) for truth in some if (values := pair(truth)) is not None]
    if not pairs:
        return None
    measured, guess = [values[0] for _, values in pairs], [values[1] for _, values in pairs]
    mae = mean_absolute_ms(measured, guess)
    found = score(measured, guess, [truth.family for truth, _ in pairs])
    return Figure(group, system, len(pairs), len(some), found, None, mae, mae / (math.fsum(measured) / len(measured)), None)


def oracles(group: Group, truths: Mapping[Case, Truth]) -> list[Figure]:
    """What no model of ours can be expected to beat: the sum of the network's own profiled kernels, and the network measured again."""
    some = group.of(truths)
    found = [
        _oracle(group, KERNELS, some, lambda truth: truth.kernels_ms),
        _oracle(group, AGAIN, some, lambda truth: truth.halves_ms),
    ]
    return [item for item in found if item is not None]


def figures(group: Group, truths: Mapping[Case, Truth], predictions: Mapping[str, Mapping[Case, PredictionRow]]) -> list[Figure]:
    """Every system that predicts a network of the group, in the given order."""
    some = group.of(truths)
    found = (figure(group, system, some, rows) for system, rows in predictions.items())
    return [item for item in found if item is not None]

"""Fusion judgements: every way of fusing against what the runtime really fused, by classifiers that never saw the network's family.

Rules are the same in every fold; the runtime's own optimiser, from whose result the truth is read, is the oracle. `rivals.fusions` runs all of it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.fusion import tables
from stowplan_predictor.fusion.serving import Fusion, RuleFusion
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.folds import LIGHT, LIGHT_FOLD
from stowplan_predictor.training.fusion.fits import fit
from stowplan_predictor.training.fusion.samples import FusionSample, fusion_samples, generated_sample
from stowplan_predictor.training.generated import kinds as random_kinds
from stowplan_predictor.training.judgements.parts import FusionJudgement

RUNTIME: Final = "runtime"
LEARNED: Final = (tables.GAT_LSTM, tables.GAT_MLP, tables.RULES_GAT_LSTM)
# Random networks that teach every learned system, and generated networks of each kind that are judged: they are many, and alike.
BLOCKS: Final = 400
_GENERATED: Final = 100
SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Unit:
    """One system, trained without one fold."""

    system: str
    fold: int
    """`folds.LIGHT_FOLD`: without the families of the light models."""

    @property
    def name(self) -> str:
        """As curves are kept."""
        return f"{self.system}, fold {self.fold}"


def judged(sample: FusionSample, system: str, fold: int, fusion: Fusion) -> FusionJudgement:
    """One network against one way of fusing."""
    kernels = fusion.kernels(sample.graph, sample.channel_block)
    return _judgement(sample, system, fold, len(sample.truth.disagreements(kernels)), sample.truth.recovered(kernels))


def _judgement(sample: FusionSample, system: str, fold: int, wrong: int, recovered: int) -> FusionJudgement:
    counts = [sum(truth == name for truth in sample.truth.edges.values()) for name in ("eliminated", "unmatched")]
    edges = len(sample.truth.judged)
    return FusionJudgement(
        system, sample.split, sample.network, sample.family, fold, edges, edges - wrong, len(sample.truth.kernels), recovered, *counts
    )  # fmt: skip


def fold_of(sample: FusionSample, splits: Mapping[str, int]) -> int:
    """The fold that judges a network."""
    return LIGHT_FOLD if sample.split == LIGHT else splits[sample.family]


def learners(samples: Sequence[FusionSample], splits: Mapping[str, int], fold: int) -> list[FusionSample]:
    """Who may teach a classifier that is judged on a fold: neither its networks nor any of their families; light models never teach."""
    strange = {sample.family for sample in samples if fold_of(sample, splits) == fold}
    return [sample for sample in samples if sample.split != LIGHT and sample.family not in strange]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A unit that was trained and judged."""

    unit: Unit
    judgements: tuple[FusionJudgement, ...]
    curves: Mapping[str, Sequence[float]]
    seconds: float
    """Of processor time."""


def run(unit: Unit, samples: Sequence[FusionSample], blocks: Sequence[FusionSample], splits: Mapping[str, int]) -> Outcome:
    """Trains and judges one unit, on one core."""
    torch.set_num_threads(1)
    began = time.process_time()
    fitted = fit(learners(samples, splits, unit.fold), unit.system, SEED, blocks)
    fusion = fitted.fusion()
    found = tuple(judged(sample, unit.system, unit.fold, fusion) for sample in samples if fold_of(sample, splits) == unit.fold)
    return Outcome(unit, found, fitted.curves, time.process_time() - began)


def unlearned(samples: Sequence[FusionSample], splits: Mapping[str, int]) -> Iterator[FusionJudgement]:
    """Rules and oracle on every network."""
    for sample in samples:
        fold = fold_of(sample, splits)
        yield judged(sample, tables.RULES, fold, RuleFusion())
        yield _judgement(sample, RUNTIME, fold, 0, len(sample.truth.kernels))


def all_samples(dataset: Dataset, device: CpuDevice) -> list[FusionSample]:
    """Networks with a fusion truth: all that were exported, and the first of each generated kind whose optimised graph was kept."""
    found = list(fusion_samples(dataset.structures.values(), device))
    rows = {row.network: row for row in dataset.randoms if row.network in dataset.optimized}
    for kind in random_kinds.KINDS:
        own = sorted((row for row in rows.values() if row.kind == kind), key=lambda row: row.seed)[:_GENERATED]
        found.extend(generated_sample(row, dataset.optimized[row.network].optimized, device) for row in own)
    return found

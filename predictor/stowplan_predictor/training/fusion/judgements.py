"""Fusion judgements: every way of fusing against what the runtime really fused, by classifiers that never saw the network's family.

`python -m stowplan_predictor.training.fusion.judgements` trains each learned system once a fold and writes `judgements/fusion.parquet`.
Rules are the same in every fold; the runtime's own optimiser, from whose result the truth is read, is the oracle.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.fusion import tables
from stowplan_predictor.fusion.serving import Fusion, RuleFusion
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.folds import LIGHT, LIGHT_FOLD
from stowplan_predictor.training.fusion.fits import fit
from stowplan_predictor.training.fusion.samples import FusionSample, block_samples, fusion_samples, generated_sample
from stowplan_predictor.training.generated import kinds as random_kinds
from stowplan_predictor.training.judgements import predictions
from stowplan_predictor.training.judgements.parts import FusionJudgement, read_judgements, write_judgements

RUNTIME: Final = "runtime"
LEARNED: Final = (tables.GAT_LSTM, tables.GAT_MLP, tables.RULES_GAT_LSTM)
# Random networks that teach every learned system, and generated networks of each kind that are judged: they are many, and alike.
_BLOCKS: Final = 400
_GENERATED: Final = 100
_SEED: Final = 7
# How losses and accuracies on families that stop the training went, epoch by epoch.
CURVES: Final = "judgements/fusion_curves.json"


@dataclass(frozen=True, slots=True)
class Unit:
    """One system, trained without one fold."""

    system: str
    fold: int
    """`folds.LIGHT_FOLD`: without the families of the light models."""


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
    fitted = fit(learners(samples, splits, unit.fold), unit.system, _SEED, blocks)
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


# What forked workers share with the process that read it: graphs are large, and pickling them takes longer than judging them.
_SHARED: list[Callable[[Unit], Outcome]] = []


def _work(unit: Unit) -> Outcome:
    return _SHARED[0](unit)


def judge(
    dataset: Dataset, device: CpuDevice, splits: Mapping[str, int], *, systems: Sequence[str], processes: int, say: Callable[[str], None]
) -> tuple[list[FusionJudgement], dict[str, Any]]:
    """Every system on every network, families held out; and the curves of what was trained."""
    started = time.monotonic()
    samples = all_samples(dataset, device)
    blocks = list(block_samples(range(_BLOCKS)))
    say(f"{len(samples)} networks with a fusion truth, {len(blocks)} random ones beside them, after {time.monotonic() - started:.0f} s")
    rows, curves = list(unlearned(samples, splits)), {}
    units = [Unit(system, fold) for system in systems for fold in sorted({fold_of(sample, splits) for sample in samples})]
    _SHARED[:] = [lambda unit: run(unit, samples, blocks, splits)]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for outcome in pool.imap(_work, units):
            rows.extend(outcome.judgements)
            name = f"{outcome.unit.system}, fold {outcome.unit.fold}"
            curves[name] = {key: [round(value, 5) for value in curve] for key, curve in outcome.curves.items()}
            share = sum(row.edges_right for row in outcome.judgements) / max(sum(row.edges for row in outcome.judgements), 1)
            epochs = max(map(len, outcome.curves.values()))
            say(f"{name}: {100 * share:.2f} % of edges, {epochs} epochs, {outcome.seconds:.0f} s of processor time")
    return rows, curves


def _earlier(folder: Path, data: str) -> Sequence[FusionJudgement]:
    """What was judged before on the same data: a system that is not trained now keeps its rows."""
    try:
        return read_judgements(folder, FusionJudgement, data)
    except DatasetRefused:
        return ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the module."""
    parser = argparse.ArgumentParser(prog="python -m stowplan_predictor.training.fusion.judgements", description=__doc__)
    parser.add_argument("folder", type=Path, help="datasets/<device>")
    parser.add_argument("--systems", nargs="*", default=list(LEARNED), choices=LEARNED, help="learned systems to train (default: all); others keep theirs")
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time (default: 2)")
    given = parser.parse_args(arguments)
    device = descriptors.read_device((given.folder / "device.json").read_bytes())
    if not isinstance(device, CpuDevice):
        parser.error(f"{given.folder}: its device is no CPU, and fusion truths are read from ONNX Runtime's CPU provider")
    split_file = given.folder.parent / "splits.json"

    def say(line: str) -> None:
        sys.stderr.write(line + "\n")

    splits = datasets.read_splits(split_file)
    data = predictions.data_digest(given.folder, split_file)
    rows, curves = judge(datasets.read_dataset(given.folder), device, splits, systems=given.systems, processes=given.processes, say=say)
    kept = [row for row in _earlier(given.folder, data) if row.system in set(LEARNED) - set(given.systems)]
    say(f"{len(rows)} judgements, {len(kept)} kept, in {write_judgements(given.folder, [*rows, *kept], FusionJudgement, data)}")
    path = given.folder / CURVES
    earlier = json.loads(path.read_bytes()) if kept and path.exists() else {}
    path.write_text(json.dumps(earlier | curves, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

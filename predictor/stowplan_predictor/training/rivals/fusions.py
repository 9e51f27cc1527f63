"""Learned fusion on every fold: `python -m stowplan_predictor.training.rivals.fusions datasets/<device>` writes `judgements/fusion.parquet`. Resumable."""

import argparse
import hashlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.fusion.judgements import BLOCKS, LEARNED, SEED, Outcome, Unit, all_samples, fold_of, run, unlearned
from stowplan_predictor.training.fusion.samples import block_samples
from stowplan_predictor.training.harness.units import Units, code_digest, default_work
from stowplan_predictor.training.judgements import predictions
from stowplan_predictor.training.judgements.parts import FusionJudgement, read_judgements, write_judgements

# What decides a unit beside the data.
_SOURCES: Final = ("fusion", "graphs", *(f"training/fusion/{name}.py" for name in ("blocks", "fits", "judgements", "models", "samples")))
# How losses and accuracies on families that stop the training went, epoch by epoch.
CURVES: Final = "judgements/fusion_curves.json"


# What forked workers share with the process that read it: graphs are large, and pickling them takes longer than judging them.
_SHARED: list[Callable[[Unit], Outcome]] = []


def _work(unit: Unit) -> Outcome:
    return _SHARED[0](unit)


@dataclass(frozen=True, slots=True)
class Kept:
    """Finished units on disk, so that a run which was stopped goes on."""

    units: Units
    key: str
    """Digest of everything that they follow from."""

    def read(self, unit: Unit) -> Outcome | None:
        """A unit that was finished before."""
        if not self.units.is_done(f"fusion-{unit.system}", self.key, unit.fold):
            return None
        return msgspec.json.decode(self.units.read(f"fusion-{unit.system}", self.key, unit.fold), type=Outcome)

    def keep(self, outcome: Outcome) -> None:
        """Writes a unit whole or not at all."""
        self.units.keep(f"fusion-{outcome.unit.system}", self.key, outcome.unit.fold, msgspec.json.encode(outcome))


def key_of(data: str) -> str:
    """Of units that are fitted by this code on that data."""
    return hashlib.sha256(f"{data}\0{SEED}\0{BLOCKS}\0{code_digest(_SOURCES)}".encode()).hexdigest()[:24]


def judge(
    dataset: Dataset, device: CpuDevice, splits: Mapping[str, int], *, systems: Sequence[str], kept: Kept, processes: int, say: Callable[[str], None]
) -> tuple[list[FusionJudgement], dict[str, Any]]:
    """Every system on every network, families held out; and the curves of what was trained."""
    started = time.monotonic()
    samples = all_samples(dataset, device)
    units = [Unit(system, fold) for system in systems for fold in sorted({fold_of(sample, splits) for sample in samples})]
    done = {unit: outcome for unit in units if (outcome := kept.read(unit)) is not None}
    missing = [unit for unit in units if unit not in done]
    blocks = list(block_samples(range(BLOCKS))) if missing else []
    say(f"{len(samples)} networks with a fusion truth after {time.monotonic() - started:.0f} s; {len(missing)} of {len(units)} units are to be fitted")
    _SHARED[:] = [lambda unit: run(unit, samples, blocks, splits)]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for outcome in pool.imap_unordered(_work, missing):
            kept.keep(outcome)
            done[outcome.unit] = outcome
            share = sum(row.edges_right for row in outcome.judgements) / max(sum(row.edges for row in outcome.judgements), 1)
            epochs = max(map(len, outcome.curves.values()))
            say(f"{outcome.unit.name}: {100 * share:.2f} % of edges, {epochs} epochs, {outcome.seconds:.0f} s of processor time")
    curves = {unit.name: {key: [round(value, 5) for value in curve] for key, curve in done[unit].curves.items()} for unit in units}
    return [*unlearned(samples, splits), *(row for unit in units for row in done[unit].judgements)], curves


def _earlier(folder: Path, data: str) -> Sequence[FusionJudgement]:
    """What was judged before on the same data: a system that is not trained now keeps its rows."""
    try:
        return read_judgements(folder, FusionJudgement, data)
    except DatasetRefused:
        return ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the module."""
    parser = argparse.ArgumentParser(prog="python -m stowplan_predictor.training.rivals.fusions", description=__doc__)
    parser.add_argument("folder", type=Path, help="datasets/<device>")
    parser.add_argument("--systems", nargs="*", default=list(LEARNED), choices=LEARNED, help="learned systems to train (default: all); others keep theirs")
    parser.add_argument("--work", type=Path, default=default_work(), help="where fitted units are kept, so that a run which was stopped goes on")
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
    finished = Kept(Units(given.work), key_of(data))
    rows, curves = judge(datasets.read_dataset(given.folder), device, splits, systems=given.systems, kept=finished, processes=given.processes, say=say)
    kept = [row for row in _earlier(given.folder, data) if row.system in set(LEARNED) - set(given.systems)]
    say(f"{len(rows)} judgements, {len(kept)} kept, in {write_judgements(given.folder, [*rows, *kept], FusionJudgement, data)}")
    path = given.folder / CURVES
    earlier = json.loads(path.read_bytes()) if kept and path.exists() else {}
    path.write_text(json.dumps(earlier | curves, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

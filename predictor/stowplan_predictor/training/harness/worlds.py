"""Everything a run of the rivals works on, read once: the data set, its networks as samples, and who is judged in which fold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data.datasets import Dataset, read_dataset, read_splits
from stowplan_predictor.training.data.folds import LIGHT, LIGHT_FOLD, Fold, held_out_folds
from stowplan_predictor.training.data.samples import Samples, samples
from stowplan_predictor.training.harness.cases import Case, cases
from stowplan_predictor.training.judgements.predictions import PredictionRow, data_digest

SPLITS_FILE = "splits.json"


@dataclass(frozen=True, slots=True)
class World:
    """A data set as rivals see it."""

    folder: Path
    """`datasets/<device>`."""
    dataset: Dataset
    samples: Samples
    splits: Mapping[str, int]
    """Fold of each family."""
    folds: Mapping[int, Fold]
    """By number; LIGHT_FOLD for the light models."""
    data: str
    """`predictions.data_digest`."""
    seed: int

    def judged(self, numbers: Iterable[int]) -> list[tuple[int, Case]]:
        """Every case of some folds, with its fold."""
        return [(number, case) for number in numbers for case in cases(self.folds[number].test)]

    def refusals(self, system: str) -> list[PredictionRow]:
        """A row for every measured case of every network that our reader refuses: nobody can predict it, and nobody drops it."""
        found = []
        random = {row.network: (row.kind, row.family) for row in self.dataset.randoms}
        known = {row.network: (row.split, row.family) for row in self.dataset.structures.values()} | random
        measured = {(row.network, row.slice) for row in self.dataset.networks} | {(row.network, row.slice) for row in self.dataset.randoms}
        for network, slice_ in sorted(measured):
            if network in self.samples.refused:
                split, family = known[network]
                fold = LIGHT_FOLD if split == LIGHT else self.splits[family]
                found.append(PredictionRow(system, split, network, family, slice_, fold, None, reason=self.samples.refused[network]))
        return found


def read_world(folder: Path, seed: int) -> World:
    """Reads `datasets/<device>` and the split file beside it.

    Raises:
        DatasetRefused: something is missing or malformed.
    """
    dataset, splits = read_dataset(folder), read_splits(folder.parent / SPLITS_FILE)
    device = descriptors.read_device((folder / "device.json").read_bytes())
    if not isinstance(device, CpuDevice):
        raise DatasetRefused(f"{folder}/device.json: {device.name} is no CPU; rivals are fitted to CPUs")
    everyone = samples(dataset, device)
    folds = {fold.number: fold for fold in held_out_folds(everyone.networks.values(), splits)}
    return World(folder, dataset, everyone, splits, folds, data_digest(folder, folder.parent / SPLITS_FILE), seed)

"""A slice of the committed data set that is small enough for a test: the smallest structures, with the latencies that were really measured."""

from functools import lru_cache
from pathlib import Path

from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_predictor.training.data.datasets import Dataset, read_rows, read_splits
from stowplan_predictor.training.data.rows import NetworkRow, StructureRow
from stowplan_predictor.training.data.samples import Samples, samples

DATASETS = Path(__file__).resolve().parents[2] / "datasets"


def folder() -> Path:
    """`datasets/<device>`: of several the first by name."""
    return min(path.parent for path in DATASETS.glob("*/provenance.json"))


@lru_cache(maxsize=1)
def _stored() -> tuple[tuple[StructureRow, ...], tuple[NetworkRow, ...]]:
    return read_rows(folder() / "structures.parquet", StructureRow), read_rows(folder() / "networks.parquet", NetworkRow)


@lru_cache(maxsize=4)
def smallest_dataset(zoo: int, random: int, light: int) -> Dataset:
    """The smallest structures of each split and every visit to them; no profiles, pairs or loads."""
    every, visits = _stored()
    measured = {row.network for row in visits}
    chosen: list[StructureRow] = []
    for split, count in (("zoo", zoo), ("random", random), ("light", light)):
        own = sorted((row for row in every if row.split == split and row.network in measured), key=lambda row: (len(row.structure), row.network))
        chosen += own[:count]
    named = {row.network: row for row in chosen}
    return Dataset(folder().name, named, tuple(row for row in visits if row.network in named), (), (), (), {})


@lru_cache(maxsize=4)
def smallest_samples(zoo: int, random: int, light: int) -> Samples:
    """`smallest_dataset`, read by the code that serves."""
    device = descriptors.read_device((folder() / "device.json").read_bytes())
    assert isinstance(device, CpuDevice)
    return samples(smallest_dataset(zoo, random, light), device)


def splits() -> dict[str, int]:
    """The committed fold of each family."""
    return dict(read_splits(DATASETS / "splits.json"))

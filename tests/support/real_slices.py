"""A few small networks of the committed data set, read without the rest of it."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.rows import KernelRow, NetworkRow, StructureRow
from stowplan_predictor.training.data.samples import Sample, samples

FOLDER = sorted(path.parent for path in (Path(__file__).resolve().parents[2] / "datasets").glob("*/provenance.json"))[0]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _rows(table: str, names: Sequence[str]) -> list[dict[str, Any]]:
    read = pq.read_table(FOLDER / f"{table}.parquet", filters=pc.field("network").isin(names))
    return [{key: _frozen(value) for key, value in record.items()} for record in read.to_pylist()]


def _smallest(count: int) -> list[str]:
    """The published networks with the fewest kernels, one of each family."""
    kept = pq.read_table(FOLDER / "structures.parquet", columns=["network", "family", "split"]).to_pylist()
    counts = pq.read_table(FOLDER / "kernels.parquet", columns=["network"]).group_by("network").aggregate([("network", "count")]).to_pylist()
    sizes = {row["network"]: row["network_count"] for row in counts}
    found: dict[str, str] = {}
    for row in sorted(kept, key=lambda row: (sizes.get(row["network"], 10**9), row["network"])):
        if row["split"] == "zoo" and row["network"] in sizes:
            found.setdefault(row["family"], row["network"])
    return list(found.values())[:count]


@lru_cache(maxsize=2)
def small_samples(count: int) -> tuple[CpuDevice, tuple[Sample, ...]]:
    """The device, and some of its measured networks as training sees them."""
    names = _smallest(count)
    device = descriptors.read_device((FOLDER / "device.json").read_bytes())
    assert isinstance(device, CpuDevice)
    structures = {row["network"]: StructureRow(**row) for row in _rows("structures", names)}
    networks = tuple(NetworkRow(**row) for row in _rows("networks", names))
    kernels = tuple(KernelRow(**row) for row in _rows("kernels", names))
    dataset = Dataset(FOLDER.name, structures, networks, kernels, pairs=(), loads=(), provenance={})
    return device, tuple(samples(dataset, device).networks.values())

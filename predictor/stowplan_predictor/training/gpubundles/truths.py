"""What a campaign measured of networks and pairs, checked: each row once, of one GPU, and nothing whose time measures nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.cuda.plans import RUNTIMES
from stowplan_predictor.training.cuda.rows import NetworkRow, PairRow
from stowplan_predictor.training.cuda.tables import GpuDataset

FULL: Final = "full"
_BLOCK: Final = "random-block-"
# As the campaign words it: a library computed something else on that many multiprocessors.
_WRONG: Final = "outputs differ"


@dataclass(frozen=True, slots=True)
class Truths:
    """Of one runtime."""

    product: str
    whole: tuple[NetworkRow, ...]
    """Networks of the zoo on the whole GPU."""
    parts: tuple[NetworkRow, ...]
    pairs: tuple[PairRow, ...]
    missing: tuple[str, ...]
    """What the tables do not hold, in words."""


def truths(dataset: GpuDataset, runtime: str) -> Truths:
    """The rows that may teach and judge.

    Raises:
        DatasetRefused: the runtime is none of a campaign, nothing was measured of it, the rows are of several GPUs or contradict each other.
    """
    if runtime not in RUNTIMES:
        raise DatasetRefused(f"runtime {runtime}: a campaign measures {' and '.join(RUNTIMES)}")
    _one_product(dataset)
    rows = [row for row in dataset.rows["networks"] if isinstance(row, NetworkRow) and row.runtime == runtime]
    networks = [row for row in rows if not row.network.startswith(_BLOCK) and _WRONG not in row.note]
    for row in networks:
        if not 0 < row.wall_p5_ms <= row.wall_ms <= row.wall_p95_ms < np.inf:
            raise DatasetRefused(f"networks.parquet: {row.unit}: percentiles {row.wall_p5_ms}, {row.wall_ms} and {row.wall_p95_ms} ms are not in order")
    _once((row.network, row.partition) for row in networks)
    pairs = [row for row in dataset.rows["pairs"] if isinstance(row, PairRow) and row.runtime == runtime]
    _once((row.subject, row.neighbour, row.sharing) for row in pairs)
    whole = tuple(row for row in networks if row.partition == FULL)
    parts = tuple(row for row in networks if row.partition != FULL)
    if not whole:
        known = sorted({row.runtime for row in dataset.rows["networks"] if isinstance(row, NetworkRow)})
        raise DatasetRefused(f"networks.parquet: no network was measured under {runtime} on the whole GPU (there is: {', '.join(known) or 'nothing'})")
    missing = []
    if not parts:
        missing.append(f"parts of the GPU: no network was measured on any{_why(dataset, 'mps', 'green', 'mig')}")
    if not pairs:
        missing.append(f"pairs: none was measured{_why(dataset, 'mps', 'time')}")
    if dropped := sum(_WRONG in row.note for row in rows):
        missing.append(f"{dropped} rows whose outputs differ from those on the whole GPU are left out")
    return Truths(dataset.product, whole, parts, tuple(pairs), tuple(missing))


def _one_product(dataset: GpuDataset) -> None:
    names = {"-".join(str(machine.get("gpu", {}).get("name", "")).split()) for machine in dataset.machines}
    if names - {dataset.product}:
        raise DatasetRefused(f"campaign.json: rows of {dataset.product}, and machines with {', '.join(sorted(names))}: measurements of several GPUs are mixed")


def _once(keys: Iterable[tuple[str, ...]]) -> None:
    seen = set()
    for key in keys:
        if key in seen:
            raise DatasetRefused(f"{' '.join(key)} was measured twice: two campaigns in one folder?")
        seen.add(key)


def _why(dataset: GpuDataset, *parts: str) -> str:
    told = [f"{part}: {dataset.skips[part]}" for part in parts if part in dataset.skips]
    return f" ({'; '.join(told)})" if told else ""

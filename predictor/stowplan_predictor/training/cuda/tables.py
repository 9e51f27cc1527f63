"""A GPU data set on disk, which is also the campaign's memory: `networks`, `kernels`, `nodes` and `pairs` as Parquet, and `campaign.json`.

Every file is written whole or not at all, after every unit; rows carry the key of their unit, and a unit counts as done only where `campaign.json`, which is
written last, says so. So an interrupted campaign goes on where it was, also on another machine of the same kind: copy the folder.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.cuda.rows import TABLES, AnyRow
from stowplan_predictor.training.data.datasets import schema_of

CAMPAIGN: Final = "campaign.json"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit."""

    status: str
    """`done` or `failed`."""
    seconds: float
    machine: int
    """Index into the campaign's machines."""
    reason: str = ""


@dataclass(slots=True)
class GpuDataset:
    """A folder of measurements on one model of GPU."""

    folder: Path
    product: str
    machines: list[dict[str, Any]] = field(default_factory=list)
    """Provenance: each machine, driver and set of versions that measured some of it."""
    units: dict[str, Outcome] = field(default_factory=dict)
    skips: dict[str, str] = field(default_factory=dict)
    """Parts that could not be measured, as of the last run."""
    rows: dict[str, list[AnyRow]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def seconds_spent(self, runtime: str) -> float:
        """On units of that runtime so far."""
        return sum(outcome.seconds for key, outcome in self.units.items() if key.startswith(f"{runtime}/"))

    def keep(self, key: str, rows: Mapping[str, Sequence[AnyRow]], outcome: Outcome) -> None:
        """Adds what a unit gave, and writes everything."""
        for name, given in rows.items():
            self.rows[name].extend(given)
        self.units[key] = outcome
        self.write([name for name, given in rows.items() if given])

    def write(self, changed: Sequence[str] = ()) -> None:
        """Writes the tables that changed or are not there, and then the file that says what is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, row_type in TABLES.items():
            if name not in changed and (self.folder / f"{name}.parquet").exists():
                continue
            schema = schema_of(row_type)  # type: ignore[arg-type] # any dataclass of scalars and tuples
            table = pa.Table.from_pylist([asdict(row) for row in self.rows[name]], schema=schema)
            _replace(self.folder / f"{name}.parquet", lambda path, table=table: pq.write_table(table, path, compression="zstd"))  # type: ignore[misc]
        document = {
            "format": _FORMAT, "product": self.product, "machines": self.machines, "skips": self.skips,
            "units": {key: asdict(outcome) for key, outcome in self.units.items()},
        }  # fmt: skip
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        _replace(self.folder / CAMPAIGN, lambda path: path.write_text(text, encoding="utf-8"))


def open_dataset(folder: Path, product: str) -> GpuDataset:
    """What a folder holds; an empty data set where it holds nothing.

    Raises:
        DatasetRefused: it holds another GPU's measurements, or something else.
    """
    path = folder / CAMPAIGN
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise DatasetRefused(f"{folder}: holds files but no {CAMPAIGN}; name an empty or a new folder")
        return GpuDataset(folder, product)
    found = read_dataset(folder)
    if found.product != product:
        raise DatasetRefused(f"{folder}: holds measurements of {found.product}, and this machine has {product}; name another folder")
    return found


def read_dataset(folder: Path) -> GpuDataset:
    """A data set as it lies there; rows of units that are not done are dropped.

    Raises:
        DatasetRefused: it is missing or malformed.
    """
    path = folder / CAMPAIGN
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise DatasetRefused(f"{path}: format {document['format']}; this version reads {_FORMAT}")
        units = {key: Outcome(**outcome) for key, outcome in document["units"].items()}
        found = GpuDataset(folder, document["product"], list(document["machines"]), units, dict(document["skips"]))
        done = {key for key, outcome in units.items() if outcome.status == "done"}
        for name, row_type in TABLES.items():
            table, names = pq.read_table(folder / f"{name}.parquet"), {item.name for item in fields(row_type)}
            if set(table.column_names) != names:
                raise DatasetRefused(f"{folder / name}.parquet: not a table of {name} of this version: {sorted(names ^ set(table.column_names))[:6]} differ")
            for row in table.to_pylist():
                if row["unit"] in done:
                    found.rows[name].append(row_type(**{key: _frozen(value) for key, value in row.items()}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise DatasetRefused(f"{path}: not a GPU data set of this version: {error!r}") from error
    return found


def _frozen(value: Any) -> Any:  # noqa: ANN401 - whatever Parquet holds
    return tuple(value) if isinstance(value, list) else value


def _replace(path: Path, write: Any) -> None:  # noqa: ANN401 - a function of a path
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

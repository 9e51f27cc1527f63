"""Predictions of every system for every judged network, committed: `datasets/<device>/predictions/<system>.parquet`.

The accuracy table is rendered from these files and the measured truths, without training. Each file carries the digest of the data that its system learned
from and was judged on, so that a table of stale predictions is refused instead of shown. A system that cannot judge a network says so in a row of its own.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from stowplan_predictor.errors import DatasetRefused

FOLDER: Final = "predictions"
# What predictions follow from: structures and times. Pairs, loads and the text of the provenance change nothing about a network alone.
_TABLES: Final = ("structures", "networks", "kernels", "randoms", "isolated", "optimized")
_DIGEST_KEY: Final = b"stowplan.data"
# Single precision: seven digits, of which measurements have two.
_SCHEMA: Final = pa.schema([
    pa.field("system", pa.string(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
    pa.field("network", pa.string(), nullable=False),
    pa.field("family", pa.string(), nullable=False),
    pa.field("slice", pa.string(), nullable=False),
    pa.field("fold", pa.int8(), nullable=False),
    pa.field("predicted_ms", pa.float32()),
    pa.field("lower_ms", pa.float32()),
    pa.field("upper_ms", pa.float32()),
    pa.field("reason", pa.string(), nullable=False),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """What one system said about one network on one slice, by a model that never saw the network's family."""

    system: str
    split: str
    """Of the network: zoo, light, random, fnn, cnn."""
    network: str
    family: str
    slice: str
    fold: int
    """The fold that was held out; `folds.LIGHT_FOLD` for the light models."""
    predicted_ms: float | None
    """None where the system cannot judge the network: a failed prediction, not a forgotten one."""
    lower_ms: float | None = None
    """Lower end of its 90 % interval; None where the system gives none."""
    upper_ms: float | None = None
    reason: str = ""
    """Why nothing was predicted; empty where something was."""

    def __post_init__(self) -> None:
        where = f"prediction of {self.system} for {self.network} on {self.slice}"
        for name, value in (("predicted_ms", self.predicted_ms), ("lower_ms", self.lower_ms), ("upper_ms", self.upper_ms)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise DatasetRefused(f"{where}: {name} is {value}; it must be finite and above zero, or None with a reason")
        if (self.predicted_ms is None) != bool(self.reason):
            raise DatasetRefused(f"{where}: {self.predicted_ms} with the reason {self.reason!r}; a reason stands where nothing was predicted, and only there")
        if (self.lower_ms is None) != (self.upper_ms is None):
            raise DatasetRefused(f"{where}: half an interval, from {self.lower_ms} to {self.upper_ms}")
        if self.lower_ms is None or self.upper_ms is None:
            return
        if self.predicted_ms is None or not self.lower_ms <= self.predicted_ms <= self.upper_ms:
            raise DatasetRefused(f"{where}: {self.predicted_ms} lies outside its interval from {self.lower_ms} to {self.upper_ms}")

    @property
    def case(self) -> tuple[str, str]:
        """Network and slice."""
        return self.network, self.slice


@dataclass(frozen=True, slots=True)
class Predictions:
    """Everything one system predicted."""

    system: str
    data: str
    """Digest of the data they were made from (`data_digest`)."""
    rows: tuple[PredictionRow, ...]
    """One for each judged network and slice, in that order."""


def data_digest(folder: Path, splits: Path) -> str:
    """`sha256:<hex>` of the measured tables in `datasets/<device>` and of the split file.

    Raises:
        DatasetRefused: one of them cannot be read.
    """
    found = hashlib.sha256()
    try:
        for path in [splits, *(path for name in _TABLES if (path := folder / f"{name}.parquet").exists())]:
            found.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise DatasetRefused(f"{error.filename}: cannot be read: {error}") from error
    return f"sha256:{found.hexdigest()}"


def predictions_path(folder: Path, system: str) -> Path:
    """Where the predictions of a system lie in `datasets/<device>`."""
    return folder / FOLDER / f"{system}.parquet"


def _checked(where: str, system: str, rows: Sequence[PredictionRow]) -> tuple[PredictionRow, ...]:
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if row.system != system:
            raise DatasetRefused(f"{where}: holds a prediction of {row.system!r}, not of {system!r}")
        if row.case in seen:
            raise DatasetRefused(f"{where}: {row.network} on {row.slice} is predicted twice")
        seen.add(row.case)
    return tuple(sorted(rows, key=lambda row: row.case))


def write_predictions(folder: Path, predictions: Predictions) -> Path:
    """Writes the file of one system whole, and returns its path.

    Raises:
        DatasetRefused: a case twice, or a row of another system.
    """
    path = predictions_path(folder, predictions.system)
    rows = _checked(str(path), predictions.system, predictions.rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=_SCHEMA.with_metadata({_DIGEST_KEY: predictions.data.encode()}))
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary, compression="zstd", compression_level=19)
    temporary.replace(path)
    return path


def read_predictions(path: Path) -> Predictions:
    """Reads the file of one system.

    Raises:
        DatasetRefused: it cannot be read, was written by another version, or holds what cannot be a prediction.
    """
    again = "predict again with `make rivals`"
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DatasetRefused(f"{path}: cannot be read: {error}; {again}") from error
    digest = (table.schema.metadata or {}).get(_DIGEST_KEY, b"").decode()
    if not table.schema.equals(_SCHEMA) or not digest:
        raise DatasetRefused(f"{path}: columns or digest are not those of predictions; {again}")
    rows = [PredictionRow(**record) for record in table.to_pylist()]
    return Predictions(path.stem, digest, _checked(str(path), path.stem, rows))


def read_all(folder: Path) -> dict[str, Predictions]:
    """Predictions of every system in `datasets/<device>`, by system; empty where none were made.

    Raises:
        DatasetRefused: one of the files is refused.
    """
    return {path.stem: read_predictions(path) for path in sorted((folder / FOLDER).glob("*.parquet"))}


def check_current(predictions: Predictions, data: str, cases: Iterable[tuple[str, str]]) -> None:
    """Refuses predictions that were made from other data, or that leave a judged case out.

    Args:
        predictions: of one system.
        data: `data_digest` of the data set as it is now.
        cases: every (network, slice) that must be judged.

    Raises:
        DatasetRefused: stale, or incomplete.
    """
    if predictions.data != data:
        raise DatasetRefused(f"predictions of {predictions.system} were made from data {predictions.data}, not {data}; predict again with `make rivals`")
    if missing := sorted(set(cases) - {row.case for row in predictions.rows}):
        named = ", ".join(f"{network} on {slice_}" for network, slice_ in missing[:3])
        raise DatasetRefused(f"predictions of {predictions.system} leave out {len(missing)} cases ({named}); a network is never dropped from judgement")

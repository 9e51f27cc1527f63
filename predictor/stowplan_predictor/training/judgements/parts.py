"""What was judged part by part, committed: `datasets/<device>/judgements/{fusion,types,kernels}.parquet`.

Whole networks are in `predictions`; here are the stages below them, always by models that never saw the network's family. Counts and times only, so that
`docs/accuracy.md` is rendered without training. Each file carries the digest of the data it was made from.
"""

import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from stowplan_predictor.errors import DatasetRefused

FOLDER: Final = "judgements"
_DIGEST_KEY: Final = b"stowplan.data"
# Times in single precision: seven digits, of which measurements have two.
_COLUMNS: Final[Mapping[object, pa.DataType]] = {str: pa.string(), int: pa.int32(), float: pa.float32()}


def _parts(where: str, whole: int, **counts: int) -> None:
    for name, count in counts.items():
        if not 0 <= count <= whole:
            raise DatasetRefused(f"{where}: {name} is {count} of {whole}")


@dataclass(frozen=True, slots=True)
class FusionJudgement:
    """How one way of fusing did on one network, against what the runtime really fused."""

    system: str
    """`rules`, `gat-lstm`, `gat` (without the LSTM), `runtime` (the truth's own source, as an oracle)."""
    split: str
    network: str
    family: str
    fold: int
    edges: int
    """Edges that the optimised graph judges: fused or apart. 0 is allowed: nothing to get wrong."""
    edges_right: int
    kernels: int
    """Kernels of the runtime."""
    kernels_right: int
    """Of those, how many were predicted whole: the same operators, no more and no fewer."""
    eliminated: int
    """Edges left out because one of their ends does no work any more."""
    unmatched: int
    """Edges left out because the optimised graph does not say."""

    def __post_init__(self) -> None:
        where = f"fusion of {self.network} by {self.system}"
        _parts(where, self.edges, edges_right=self.edges_right)
        _parts(where, self.kernels, kernels_right=self.kernels_right)


@dataclass(frozen=True, slots=True)
class TypeJudgement:
    """How often one system named the type of a kernel of one network."""

    system: str
    split: str
    network: str
    family: str
    fold: int
    kernels: int
    top1: int
    """Kernels whose true type was the likeliest."""
    top5: int
    """Kernels whose true type was among the five likeliest."""

    def __post_init__(self) -> None:
        where = f"kernel types of {self.network} by {self.system}"
        _parts(where, self.kernels, top5=self.top5)
        _parts(where, self.top5, top1=self.top1)


@dataclass(frozen=True, slots=True)
class KernelJudgement:
    """One kernel, predicted and profiled."""

    system: str
    split: str
    network: str
    family: str
    slice: str
    fold: int
    position: int
    """Index of the kernel among ours."""
    name: str
    type: str
    predicted_ms: float
    """Without dispatch: what the profiler should have said."""
    measured_ms: float | None
    """From the profiler; None where the runtime ran nothing for it, or no profile was taken."""

    def __post_init__(self) -> None:
        for name, value in (("predicted_ms", self.predicted_ms), ("measured_ms", self.measured_ms)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise DatasetRefused(f"kernel {self.name} of {self.network} on {self.slice}: {name} is {value}; it must be finite and above zero")


Judgement = TypeVar("Judgement", FusionJudgement, TypeJudgement, KernelJudgement)
FILES: Final[Mapping[type, str]] = {FusionJudgement: "fusion", TypeJudgement: "types", KernelJudgement: "kernels"}


def judgements_path(folder: Path, row_type: type) -> Path:
    """Where rows of a type lie in `datasets/<device>`."""
    return folder / FOLDER / f"{FILES[row_type]}.parquet"


def _schema(row_type: type) -> pa.Schema:
    hints = typing.get_type_hints(row_type)
    columns = []
    for field in fields(row_type):
        optional = isinstance(hints[field.name], types.UnionType)
        plain = next(item for item in typing.get_args(hints[field.name]) if item is not type(None)) if optional else hints[field.name]
        columns.append(pa.field(field.name, _COLUMNS[plain], nullable=optional))
    return pa.schema(columns)


def _order(record: Mapping[str, Any]) -> tuple[object, ...]:
    return record["system"], record["split"], record["network"], record.get("slice", ""), record.get("position", 0)


def write_judgements(folder: Path, rows: Iterable[Judgement], row_type: type[Judgement], data: str) -> Path:
    """Writes a file whole, rows in a fixed order.

    Args:
        folder: `datasets/<device>`.
        rows: any order.
        row_type: of every row.
        data: `predictions.data_digest` of the data they were made from.
    """
    path = judgements_path(folder, row_type)
    records = sorted((asdict(row) for row in rows), key=_order)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(records, schema=_schema(row_type).with_metadata({_DIGEST_KEY: data.encode()}))
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary, compression="zstd", compression_level=19)
    temporary.replace(path)
    return path


def read_judgements(folder: Path, row_type: type[Judgement], data: str | None = None) -> tuple[Judgement, ...]:
    """Reads a file; empty where there is none.

    Args:
        folder: `datasets/<device>`.
        row_type: of the rows.
        data: digest of the data as it is now; None where any will do.

    Raises:
        DatasetRefused: unreadable, of another version, made from other data, or it holds what cannot be a judgement.
    """
    path = judgements_path(folder, row_type)
    if not path.exists():
        return ()
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DatasetRefused(f"{path}: cannot be read: {error}; judge again with `make rivals`") from error
    made_from = (table.schema.metadata or {}).get(_DIGEST_KEY, b"").decode()
    if not table.schema.equals(_schema(row_type)):
        raise DatasetRefused(f"{path}: its columns are not those of {row_type.__name__}; it was written by another version, judge again with `make rivals`")
    if data is not None and made_from != data:
        raise DatasetRefused(f"{path}: made from data {made_from or 'unknown'}, not {data}; judge again with `make rivals`")
    return tuple(row_type(**record) for record in table.to_pylist())

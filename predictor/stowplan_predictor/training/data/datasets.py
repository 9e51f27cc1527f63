"""Measured data sets on disk: `datasets/<device>/`: a Parquet file for each of `TABLES`, `device.json` and `provenance.json`.

Parquet, because rows are many and typed; one file a kind of row, its schema derived from the dataclass in `rows` and checked when read. Structures are
weight-stripped ONNX files, so that features are recomputed by the code that serves and training needs no export.
"""

import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data.generated_rows import IsolatedRow, OptimizedRow, RandomRow
from stowplan_predictor.training.data.rows import KernelRow, LoadRow, NetworkRow, PairRow, StructureRow

Row = TypeVar("Row", StructureRow, NetworkRow, KernelRow, PairRow, LoadRow, RandomRow, IsolatedRow, OptimizedRow)
AnyRow = StructureRow | NetworkRow | KernelRow | PairRow | LoadRow | RandomRow | IsolatedRow | OptimizedRow

TABLES: Final[Mapping[str, type[AnyRow]]] = {
    "structures": StructureRow,
    "networks": NetworkRow,
    "kernels": KernelRow,
    "pairs": PairRow,
    "loads": LoadRow,
    "randoms": RandomRow,
    "isolated": IsolatedRow,
    "optimized": OptimizedRow,
}
_SCALARS: Final[Mapping[object, pa.DataType]] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything that was measured on one device."""

    device: str
    structures: Mapping[str, StructureRow]
    """By network name."""
    networks: tuple[NetworkRow, ...]
    kernels: tuple[KernelRow, ...]
    pairs: tuple[PairRow, ...]
    loads: tuple[LoadRow, ...]
    provenance: Mapping[str, Any]
    randoms: tuple[RandomRow, ...] = ()
    isolated: tuple[IsolatedRow, ...] = ()
    optimized: Mapping[str, OptimizedRow] = field(default_factory=dict)
    """By network name, of generated graphs that were profiled."""


def _arrow_type(annotation: object) -> pa.DataType:
    """Arrow's type of a field: scalars, `tuple[X, ...]` as lists, `X | None` as X."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return pa.list_(_arrow_type(arguments[0]))
    if isinstance(annotation, types.UnionType):
        return _arrow_type(next(item for item in arguments if item is not type(None)))
    raise TypeError(f"no column type for {annotation}")


def schema_of(row_type: type[AnyRow]) -> pa.Schema:
    """Columns of a table, one a field; nullable only where the field may be None."""
    hints = typing.get_type_hints(row_type)
    return pa.schema([pa.field(f.name, _arrow_type(hints[f.name]), nullable=type(None) in typing.get_args(hints[f.name])) for f in fields(row_type)])


def _frozen(value: Any) -> Any:  # noqa: ANN401 - whatever Parquet holds
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def write_rows(path: Path, rows: Iterable[Row], row_type: type[Row]) -> None:
    """Writes a table whole: to a temporary file first, then in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(row_type))
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary, compression="zstd", compression_level=19)
    temporary.replace(path)


def read_rows(path: Path, row_type: type[Row]) -> tuple[Row, ...]:
    """Reads a table.

    Raises:
        DatasetRefused: the file is missing or unreadable, its columns are not those of `row_type`, or a value cannot be a measurement.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DatasetRefused(f"{path}: cannot be read: {error}; measure again with `make dataset`") from error
    expected = schema_of(row_type)
    if set(table.schema.names) == set(expected.names):
        # The order of columns means nothing, and rows are made by position.
        table = table.select(expected.names)
    if table.schema.names != expected.names or table.schema.types != expected.types:
        differing = sorted(set(expected.names) ^ set(table.schema.names)) or [
            f"{field.name}: {field.type}, not {wanted.type}" for field, wanted in zip(table.schema, expected, strict=True) if field.type != wanted.type
        ]
        raise DatasetRefused(f"{path}: columns differ from {row_type.__name__}: {', '.join(differing)}; it was written by another version, measure again")
    # Column by column: hundreds of thousands of rows as dictionaries would take three times as long.
    columns = [[_frozen(value) for value in own] if pa.types.is_list(column.type) else own for column in table.columns for own in [column.to_pylist()]]
    return tuple(row_type(*values) for values in zip(*columns, strict=True))


def _read_optional(path: Path, row_type: type[Row]) -> tuple[Row, ...]:
    """A table that older data sets do not have: empty where the file is missing."""
    return read_rows(path, row_type) if path.exists() else ()


def write_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Writes who measured what, where, when and how noisy it was."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "provenance.tmp"
    temporary.write_text(json.dumps(provenance, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(folder / "provenance.json")


def read_dataset(folder: Path) -> Dataset:
    """Reads `datasets/<device>`.

    Raises:
        DatasetRefused: something is missing, malformed, or names a network whose structure is not there.
    """
    try:
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetRefused(f"{folder}/provenance.json: {error}; a data set without provenance is not used") from error
    structures = {row.network: row for row in read_rows(folder / "structures.parquet", StructureRow)}
    networks = read_rows(folder / "networks.parquet", NetworkRow)
    kernels = read_rows(folder / "kernels.parquet", KernelRow)
    pairs = read_rows(folder / "pairs.parquet", PairRow)
    loads = read_rows(folder / "loads.parquet", LoadRow)
    randoms = _read_optional(folder / "randoms.parquet", RandomRow)
    isolated = _read_optional(folder / "isolated.parquet", IsolatedRow)
    optimized = {row.network: row for row in _read_optional(folder / "optimized.parquet", OptimizedRow)}
    named = {row.network for table in (networks, kernels, pairs, loads) for row in table} | {row.tenant for row in pairs}
    generated = {row.network for row in randoms} | {row.network for row in isolated}
    if missing := sorted(named - structures.keys() - generated):
        raise DatasetRefused(f"{folder}: no structure for {', '.join(missing[:5])}; measure again")
    return Dataset(folder.name, structures, networks, kernels, pairs, loads, provenance, randoms, isolated, optimized)


def read_splits(path: Path) -> Mapping[str, int]:
    """Fold of each family, from `datasets/splits.json`; families that are only in the `light` split have none.

    Raises:
        DatasetRefused: the file is missing or malformed.
    """
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))["folds"]
        return {str(family): int(fold) for family, fold in folds.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetRefused(f"{path}: cannot be read: {error!r}") from error

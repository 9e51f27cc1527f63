"""Data sets come back as they were written, or not at all. Numbers here are made up to exercise the codec; nothing learns from them."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.rows import KernelRow, LoadRow, NetworkRow, PairRow, StructureRow

_QUANTILES = tuple(float(point) for point in range(1, 22))
_STRUCTURE = StructureRow("net", "family", "zoo", "test", 1, ("x", "y"), ((1, 3), ()), b"\x00structure", b"")
_NETWORK = NetworkRow(
    network="net", slice="cpu:1", repeat=0, threads=1, runs=30, warmup_runs=3, median_ms=11.0, mean_ms=11.0, p5_ms=2.0, p25_ms=6.0, p75_ms=16.0, p95_ms=20.0,
    p99_ms=21.0, cv=0.1, quantiles_ms=_QUANTILES, foreign_share=0.0, steal_share=0.0, attempts=1, noisy=False, kernels_sum_ms=None, kernels_count=None,
    measured_at="2026-01-01T00:00:00Z",
)  # fmt: skip
_KERNEL = KernelRow("net", "cpu:1", 0, "node", "Conv", "", ("out", "other"), "CPUExecutionProvider", 3.0, 2.5, 3.5, 20)


def _write(folder: Path, networks: list[NetworkRow]) -> None:
    datasets.write_rows(folder / "structures.parquet", [_STRUCTURE], StructureRow)
    datasets.write_rows(folder / "networks.parquet", networks, NetworkRow)
    datasets.write_rows(folder / "kernels.parquet", [_KERNEL], KernelRow)
    datasets.write_rows(folder / "pairs.parquet", [], PairRow)
    datasets.write_rows(folder / "loads.parquet", [], LoadRow)
    datasets.write_provenance(folder, {"host": "h"})


def test_a_data_set_survives_the_disk(tmp_path: Path) -> None:
    """Every field of every row, nested tuples, missing values and bytes included."""
    _write(tmp_path, [_NETWORK, replace(_NETWORK, repeat=1, kernels_sum_ms=1.5)])
    read = datasets.read_dataset(tmp_path)

    assert read.structures == {"net": _STRUCTURE}
    assert read.networks == (_NETWORK, replace(_NETWORK, repeat=1, kernels_sum_ms=1.5))
    assert read.kernels == (_KERNEL,)
    assert read.provenance == {"host": "h"}


# Each example is a file on disk.
@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 2**40), max_size=4).map(tuple), min_size=2, max_size=2).map(tuple), st.binary(max_size=100))
def test_shapes_and_bytes_survive(tmp_path_factory: pytest.TempPathFactory, shapes: tuple[tuple[int, ...], ...], structure: bytes) -> None:
    """Any shapes and any bytes come back unchanged."""
    row = replace(_STRUCTURE, input_shapes=shapes, structure=structure)
    path = tmp_path_factory.mktemp("rows") / "structures.parquet"
    datasets.write_rows(path, [row], StructureRow)

    assert datasets.read_rows(path, StructureRow) == (row,)


@pytest.mark.parametrize(
    "change",
    [
        {"median_ms": float("nan")},
        {"median_ms": 0.0},
        {"mean_ms": float("inf")},
        {"quantiles_ms": (1.0,)},
        {"quantiles_ms": tuple(reversed(_QUANTILES))},
    ],
)
def test_what_cannot_be_a_measurement_is_refused(change: dict[str, object]) -> None:
    """NaN, zero and disorder never become rows."""
    with pytest.raises(DatasetRefused, match="network net on cpu:1"):
        replace(_NETWORK, **change)  # type: ignore[arg-type]


def test_other_columns_are_refused_by_name(tmp_path: Path) -> None:
    """A table of another version is not read as if it were ours."""
    _write(tmp_path, [_NETWORK])
    table = pq.read_table(tmp_path / "networks.parquet").rename_columns({"cv": "variation"})
    pq.write_table(table, tmp_path / "networks.parquet")

    with pytest.raises(DatasetRefused, match="cv, variation"):
        datasets.read_dataset(tmp_path)


def test_a_row_without_structure_is_refused(tmp_path: Path) -> None:
    """Features could not be computed for it."""
    _write(tmp_path, [_NETWORK, replace(_NETWORK, network="stranger")])

    with pytest.raises(DatasetRefused, match="no structure for stranger"):
        datasets.read_dataset(tmp_path)


@pytest.mark.parametrize("broken", ["provenance.json", "kernels.parquet"])
def test_a_torn_file_is_named(tmp_path: Path, broken: str) -> None:
    """What cannot be read names the file."""
    _write(tmp_path, [_NETWORK])
    (tmp_path / broken).write_bytes(b"PAR1{")

    with pytest.raises(DatasetRefused, match=broken):
        datasets.read_dataset(tmp_path)


def test_splits_are_read(tmp_path: Path) -> None:
    """Folds by family; a file without them is refused."""
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"folds": {"vit": 3}}))
    assert datasets.read_splits(path) == {"vit": 3}
    path.write_text("[]")
    with pytest.raises(DatasetRefused, match=r"splits\.json"):
        datasets.read_splits(path)

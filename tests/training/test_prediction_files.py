"""Predictions on disk: what is written is what is read, and nothing that is no prediction gets in."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.judgements.predictions import (
    PredictionRow,
    Predictions,
    check_current,
    data_digest,
    predictions_path,
    read_all,
    read_predictions,
    write_predictions,
)

pytestmark = pytest.mark.train

DATA = "sha256:" + "a" * 64
KNOWN = PredictionRow("gcn", "zoo", "alexnet-b1-s224", "alexnet", "cpu:1", 1, 31.5, 28.25, 40.0)
UNKNOWN = PredictionRow("gcn", "zoo", "odd-net", "odd", "cpu:2", 0, None, reason="operator Odd has no counting rule")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A data set of two files, as far as a digest sees one."""
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "networks.parquet").write_bytes(b"times")
    (tmp_path / "splits.json").write_text("{}")
    return tmp_path


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(2**-13, 2**17, width=32), min_size=1, max_size=20))
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, latencies: list[float]) -> None:
    """Rows come back equal, digest and failed predictions included."""
    folder = tmp_path_factory.mktemp("data")
    rows = [replace(KNOWN, network=f"net-{index:03}", predicted_ms=value, lower_ms=None, upper_ms=None) for index, value in enumerate(latencies)]
    written = Predictions("gcn", DATA, (*rows, UNKNOWN))
    path = write_predictions(folder, written)

    assert read_predictions(path) == written
    assert read_all(folder) == {"gcn": written}


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-3, 1e4), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
def test_intervals_survive_single_precision(tmp_path_factory: pytest.TempPathFactory, found: list[tuple[float, float, float]]) -> None:
    """An interval that holds its prediction still holds it when it was stored in single precision; many to a file, for files cost more than rows."""
    rows = tuple(
        replace(KNOWN, network=f"net-{index:03}", predicted_ms=predicted, lower_ms=predicted * math.exp(-below), upper_ms=predicted * math.exp(above))
        for index, (predicted, below, above) in enumerate(found)
    )
    read = read_predictions(write_predictions(tmp_path_factory.mktemp("data"), Predictions("gcn", DATA, rows))).rows

    for row, back in zip(rows, read, strict=True):
        assert back.network == row.network
        assert back.predicted_ms == pytest.approx(row.predicted_ms, rel=1e-6)
        assert back.lower_ms == np.float32(row.lower_ms)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 0.0, -1.0])
def test_numbers_that_are_no_latency_are_refused(wrong: float) -> None:
    """Nobody's latency is zero, negative, infinite or not a number."""
    with pytest.raises(DatasetRefused, match="finite and above zero"):
        replace(KNOWN, predicted_ms=wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predicted_ms": None}, "a reason stands where nothing was predicted"),
        ({"reason": "but it was"}, "a reason stands where nothing was predicted"),
        ({"lower_ms": None}, "half an interval"),
        ({"lower_ms": 33.0}, "outside its interval"),
        ({"upper_ms": 30.0}, "outside its interval"),
    ],
)
def test_contradicting_rows_are_refused(changes: dict[str, Any], message: str) -> None:
    """A row either predicts, inside its interval, or says why it does not."""
    with pytest.raises(DatasetRefused, match=message):
        replace(KNOWN, **changes)


def test_a_case_is_predicted_once_and_by_its_own_system(tmp_path: Path) -> None:
    """Two answers to one question, or somebody else's, are refused before anything is written."""
    with pytest.raises(DatasetRefused, match="predicted twice"):
        write_predictions(tmp_path, Predictions("gcn", DATA, (KNOWN, replace(KNOWN, predicted_ms=30.0))))
    with pytest.raises(DatasetRefused, match="'dnn', not of 'gcn'"):
        write_predictions(tmp_path, Predictions("gcn", DATA, (replace(KNOWN, system="dnn"),)))

    assert not predictions_path(tmp_path, "gcn").exists()


def test_what_others_wrote_is_refused(tmp_path: Path) -> None:
    """A missing file, a truncated one, and a table without digest are named, and the way to make them anew."""
    path = write_predictions(tmp_path, Predictions("gcn", DATA, (KNOWN,)))
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(DatasetRefused, match="make rivals"):
        read_predictions(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetRefused, match="make rivals"):
        read_predictions(path)
    with pytest.raises(DatasetRefused, match="make rivals"):
        read_predictions(tmp_path / "none.parquet")
    pq.write_table(pa.table({"network": ["alexnet"]}), path)
    with pytest.raises(DatasetRefused, match="make rivals"):
        read_all(tmp_path)


def test_the_digest_follows_the_data(repository: Path) -> None:
    """Another time, another table or another split is another digest; pairs change nothing about a network alone."""
    device, splits = repository / "device", repository / "splits.json"
    first = data_digest(device, splits)
    (device / "pairs.parquet").write_bytes(b"pairs")
    same = data_digest(device, splits)
    (device / "isolated.parquet").write_bytes(b"kernels")
    with_kernels = data_digest(device, splits)
    (device / "networks.parquet").write_bytes(b"other times")
    with_times = data_digest(device, splits)
    splits.write_text('{"folds": {}}')

    assert first == same
    assert len({first, with_kernels, with_times, data_digest(device, splits)}) == 4
    with pytest.raises(DatasetRefused, match="cannot be read"):
        data_digest(device, repository / "nothing.json")


def test_stale_and_incomplete_predictions_are_refused() -> None:
    """Predictions of older data are never shown, and a network that a system leaves out is noticed; one it cannot judge is a case."""
    found = Predictions("gcn", DATA, (KNOWN, UNKNOWN))
    check_current(found, DATA, [KNOWN.case, UNKNOWN.case])

    with pytest.raises(DatasetRefused, match="were made from data"):
        check_current(found, "sha256:other", [KNOWN.case])
    with pytest.raises(DatasetRefused, match=r"leave out 1 cases .alexnet-b1-s224 on cpu:2.*never dropped"):
        check_current(found, DATA, [KNOWN.case, ("alexnet-b1-s224", "cpu:2")])

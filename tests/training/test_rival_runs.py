"""`make rivals`: units are kept one by one, a run that was stopped goes on, and only what changed is fitted again."""

import json
from pathlib import Path

import pytest

# Imports it without the warnings of what torch is about to give up.
pytest.importorskip("torch_geometric", reason="needs the training extra")

from stowplan_predictor.training.data.datasets import write_provenance, write_rows
from stowplan_predictor.training.data.folds import LIGHT_FOLD
from stowplan_predictor.training.data.rows import KernelRow, LoadRow, NetworkRow, PairRow, StructureRow
from stowplan_predictor.training.data.samples import Samples
from stowplan_predictor.training.harness import worlds
from stowplan_predictor.training.harness.systems import Content, System
from stowplan_predictor.training.harness.units import UnitKind, Units, code_digest
from stowplan_predictor.training.harness.worlds import World
from stowplan_predictor.training.judgements.predictions import PredictionRow, read_all
from stowplan_predictor.training.rivals import __main__ as command
from stowplan_predictor.training.rivals import systems
from support.real_samples import folder, smallest_dataset, smallest_samples, splits

# Newer Pythons warn of every fork beside a thread; the runner forks before it starts any, a test process may have some.
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")]

SIZES = (6, 6, 1)


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository's `datasets` with a dozen real networks, read once for all tests."""
    whole = smallest_dataset(*SIZES)
    device = tmp_path / "datasets" / whole.device
    write_rows(device / "structures.parquet", whole.structures.values(), StructureRow)
    write_rows(device / "networks.parquet", whole.networks, NetworkRow)
    write_rows(device / "kernels.parquet", [], KernelRow)
    write_rows(device / "pairs.parquet", [], PairRow)
    write_rows(device / "loads.parquet", [], LoadRow)
    write_provenance(device, {})
    (device / "device.json").write_bytes((folder() / "device.json").read_bytes())
    (device.parent / "splits.json").write_text(json.dumps({"folds": splits()}))
    monkeypatch.setattr(worlds, "samples", lambda *_: smallest_samples(*SIZES))
    return device.parent


def rivals(datasets: Path, *arguments: str) -> int:
    return command.main(["--datasets", str(datasets), "--work", str(datasets.parent / "work"), *arguments])


def finished(datasets: Path) -> set[str]:
    return {f"{path.parent.name.split('-')[0]}/{path.name}" for path in (datasets.parent / "work").rglob("fold*")}


def device_folder(datasets: Path) -> Path:
    return next(path for path in datasets.iterdir() if path.is_dir())


def test_every_judged_case_is_predicted(datasets: Path) -> None:
    """All folds are fitted, and the file of a system holds every network on every slice it was measured on, each by its fold."""
    assert rivals(datasets, "--systems", "mean,linear") == command.EXIT_DONE

    found = read_all(device_folder(datasets))
    assert set(found) == {"mean", "linear"}
    measured = {(row.network, row.slice) for row in smallest_dataset(*SIZES).networks}
    for predictions in found.values():
        assert {row.case for row in predictions.rows} == measured
        for row in predictions.rows:
            assert row.predicted_ms is not None
            assert row.fold == (LIGHT_FOLD if row.split == "light" else splits()[row.family])


def test_a_run_goes_on_where_it_stopped(datasets: Path) -> None:
    """Without time nothing is begun and the exit code asks for another run; what was killed in the middle is all that is fitted again."""
    assert rivals(datasets, "--systems", "linear", "--minutes", "0") == command.EXIT_UNFINISHED
    assert not finished(datasets)
    assert rivals(datasets, "--systems", "linear") == command.EXIT_DONE
    units = sorted((datasets.parent / "work").rglob("fold*"))
    # As a kill would leave it: one unit half written under its temporary name, its predictions never made.
    units[0].rename(units[0].with_suffix(".tmp"))
    (device_folder(datasets) / "predictions" / "linear.parquet").unlink()
    before = {path: path.stat().st_mtime_ns for path in units[1:]}

    assert rivals(datasets, "--systems", "linear") == command.EXIT_DONE
    assert units[0].exists()
    assert {path: path.stat().st_mtime_ns for path in units[1:]} == before
    assert set(read_all(device_folder(datasets))) == {"linear"}


def test_a_failing_system_stops_nobody_else(datasets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its unit is named with the reason and stays open, the others are fitted and written, and the exit code says that something failed."""

    def broken(world: World, number: int) -> bytes:
        if number == 1:
            raise ValueError("no such luck")
        return systems.UNITS["mean"].make(world, number)

    kind = UnitKind("broken", broken, systems.whole_network_inputs, ())
    monkeypatch.setattr(command, "UNITS", {**command.UNITS, "broken": kind})
    monkeypatch.setattr(command, "SYSTEMS", {**command.SYSTEMS, "broken": System("broken", ("broken",), systems.SYSTEMS["mean"].rows)})

    assert rivals(datasets, "--systems", "broken,mean") == command.EXIT_REFUSED
    assert "broken/1: ValueError: no such luck" in capsys.readouterr().out
    assert set(read_all(device_folder(datasets))) == {"mean"}
    assert "broken/fold0" in finished(datasets)
    assert "broken/fold1" not in finished(datasets)


def test_a_system_of_several_units_waits_for_all(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blend is made from the units of others, fits nothing of its own, and covers the folds that all of them have."""

    def half_way(world: World, system: str, content: Content) -> list[PredictionRow]:
        parts = [{row.case: row for row in systems.SYSTEMS[name].rows(world, name, {name: content[name]})} for name in ("mean", "linear")]
        shared = parts[0].keys() & parts[1].keys()
        rows = [(parts[0][case], parts[1][case]) for case in shared]
        return [
            PredictionRow(system, one.split, one.network, one.family, one.slice, one.fold, ((one.predicted_ms or 0) + (two.predicted_ms or 0)) / 2)
            for one, two in rows
        ]

    monkeypatch.setattr(command, "SYSTEMS", {**command.SYSTEMS, "blend": System("blend", ("mean", "linear"), half_way)})

    assert rivals(datasets, "--systems", "blend") == command.EXIT_DONE
    assert {name.split("/")[0] for name in finished(datasets)} == {"mean", "linear"}
    assert set(read_all(device_folder(datasets))) == {"blend"}


def test_what_the_reader_refuses_is_a_failed_prediction(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that cannot be read stays in the table, with the reason."""
    whole = smallest_samples(*SIZES)
    refused = next(name for name, sample in whole.networks.items() if sample.split == "zoo")
    kept = {name: sample for name, sample in whole.networks.items() if name != refused}
    monkeypatch.setattr(worlds, "samples", lambda *_: Samples(whole.device, kept, {refused: "operator Odd has no counting rule"}))

    assert rivals(datasets, "--systems", "mean") == command.EXIT_DONE
    rows = [row for row in read_all(device_folder(datasets))["mean"].rows if row.network == refused]
    assert {row.slice for row in rows} == {row.slice for row in smallest_dataset(*SIZES).networks if row.network == refused}
    assert {(row.predicted_ms, row.reason) for row in rows} == {(None, "operator Odd has no counting rule")}


def test_unknown_systems_and_data_are_refused(datasets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names what there is."""
    assert rivals(datasets, "--systems", "oracle") == command.EXIT_REFUSED
    assert "no system named oracle; there are mean, linear" in " ".join(capsys.readouterr().out.split())
    assert rivals(datasets, "--systems", "mean", "--device", "other") == command.EXIT_REFUSED


def test_units_follow_from_code_data_and_seed(datasets: Path) -> None:
    """Another seed or another latency is another key; the same is the same."""
    world = worlds.read_world(device_folder(datasets), 0)
    other = worlds.read_world(device_folder(datasets), 1)
    kind = systems.UNITS["linear"]

    assert kind.key(world) == kind.key(worlds.read_world(device_folder(datasets), 0))
    assert kind.key(world) != kind.key(other)
    assert kind.key(world) != systems.UNITS["mean"].key(world)
    assert code_digest(["training/rivals/means.py"]) != code_digest(["training/rivals/linears.py"])
    assert len(code_digest(["graphs"])) == 64
    with pytest.raises(FileNotFoundError):
        code_digest(["training/rivals/nothing.py"])


def test_units_are_written_whole(tmp_path: Path) -> None:
    """What is kept is read back; a temporary file is no unit."""
    units = Units(tmp_path)
    units.keep("gcn", "abc", 2, b"said")

    assert units.read("gcn", "abc", 2) == b"said"
    assert units.is_done("gcn", "abc", 2)
    units.path("gcn", "abc", 3).with_suffix(".tmp").write_bytes(b"sa")
    assert not units.is_done("gcn", "abc", 3)

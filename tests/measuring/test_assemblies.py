"""From results to a data set: nothing is dropped for its value, and another machine's data stays as it is. Numbers are made up; nothing learns from them."""

import json
from pathlib import Path

import pytest
from onnx import TensorProto, helper
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_predictor.measuring import structures
from stowplan_predictor.training.campaigns import assemblies
from stowplan_predictor.training.campaigns.plans import Task
from stowplan_predictor.training.campaigns.results import Results
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.rows import NetworkRow

_COMMITTED = next(Path(__file__).resolve().parents[2].glob("datasets/*/device.json"))
_NETWORK = "resnet18-b1-s224"


def _row(repeat: int, noisy: bool) -> NetworkRow:  # noqa: FBT001 - two of them
    times = {"median_ms": 11.0, "mean_ms": 11.0, "p5_ms": 2.0, "p25_ms": 6.0, "p75_ms": 16.0, "p95_ms": 20.0, "p99_ms": 21.0, "cv": 0.1}
    around = {"foreign_share": 0.5 if noisy else 0.0, "steal_share": 0.0, "attempts": 1, "noisy": noisy, "measured_at": f"2026-01-01T00:00:{repeat}Z"}
    counts = {"threads": 1, "runs": 30, "warmup_runs": 3, "kernels_sum_ms": None, "kernels_count": None}
    return NetworkRow(_NETWORK, "cpu:1", repeat, quantiles_ms=tuple(float(point) for point in range(1, 22)), **times, **around, **counts)  # type: ignore[arg-type]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A campaign's folder after two visits to one network, one of them noisy, and one task that failed."""
    node = helper.make_node("Relu", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]))
    folder = tmp_path / "work"
    (folder / "structures").mkdir(parents=True)
    (folder / "structures" / f"{_NETWORK}.onnx.gz").write_bytes(structures.pack(model.SerializeToString()))
    record = {"source": "torchvision 0", "file": "gone.onnx", "inputs": {"x": [1, 4]}}
    (folder / "structures" / f"{_NETWORK}.json").write_text(json.dumps(record))
    (folder / "device.json").write_bytes(_COMMITTED.read_bytes())
    (folder / "spreads.json").write_text("{}")
    results = Results(folder / "results")
    for repeat, noisy in ((10, False), (20, True)):
        results.keep(Task("visit", _NETWORK, "cpu:1", repeat), {"networks": [_row(repeat, noisy)]})
    results.keep_failure(Task("visit", "vgg16-b1-s128", "cpu:1", 10), "RuntimeRefused: no")
    return folder


def test_noisy_visits_stay(work: Path, tmp_path: Path) -> None:
    """What was disturbed is marked and counted, never dropped; what failed is there with its reason."""
    assemblies.assemble(work, Results(work / "results"), tmp_path / "datasets")
    data = datasets.read_dataset(next((tmp_path / "datasets").glob("*/provenance.json")).parent)

    assert data.networks == (_row(10, False), _row(20, True))
    assert data.provenance["noisy"]["networks"] == 1
    assert data.provenance["left_out"] == {"visit__vgg16-b1-s128__cpu-1__10": "RuntimeRefused: no"}
    assert data.provenance["test_retest"]["visits"]["cpu:1"]["median"]["retests"] == 1


def test_another_machine_keeps_its_data(work: Path, tmp_path: Path) -> None:
    """Two devices are worth more than one: a campaign writes the folder of its own CPU and touches no other."""
    other = tmp_path / "datasets" / "some-other-cpu" / "networks.parquet"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"measured elsewhere")
    device = descriptors.read_device(_COMMITTED.read_bytes())
    assemblies.assemble(work, Results(work / "results"), tmp_path / "datasets")

    assert isinstance(device, CpuDevice)
    assert {path.name for path in (tmp_path / "datasets").iterdir()} == {"some-other-cpu", str(device.name), "splits.json"}
    assert other.read_bytes() == b"measured elsewhere"
    assert list(other.parent.iterdir()) == [other]

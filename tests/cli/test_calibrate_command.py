"""`stowplan calibrate` writes a bundle that knows this machine too, and refuses what would teach it wrong things. Times here are made up, but for one test."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs the training extra")

from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.slices import DeviceName, Slice, parse_slice
from stowplan_predictor.bundles.loading import load_bundle
from stowplan_predictor.fusion.serving import Fusion, RuleFusion
from stowplan_predictor.kernels.resources import slice_resources
from stowplan_predictor.kernels.rooflines import roofline_ms
from stowplan_predictor.measuring import devices
from stowplan_predictor.measuring.batches import BatchRules
from stowplan_predictor.training.calibration import anchor_kernels, anchor_readings
from stowplan_predictor.training.calibration.calibrations import Reading
from support.command_lines import Desk, Run
from support.synthetic_bundles import DEVICE, PER_KERNEL_MS, SLOWNESS

pytestmark = pytest.mark.train

# Of types that the made-up bundle knows.
KNOWN = ("conv3-64-56", "conv3-256-14", "conv1-64-56", "conv1-512-14", "depthwise3-64-112", "gemm-196-768", "gemm-197-384", "addition-256-56")
SLOWER = 1.5


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A descriptor that names this very CPU, hardly faster than the machine that the made-up bundle knows."""
    model, _ = devices.parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    points = tuple(replace(point, flops_per_second=1.02 * point.flops_per_second) for point in DEVICE.throughputs)
    path = tmp_path / "here.json"
    path.write_bytes(descriptors.write_device(replace(DEVICE, name=DeviceName("here"), model=model, throughputs=points)))
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Slices that anchors were measured on; on this machine everything takes half as long again as the bundle says."""
    slices: list[str] = []

    def read(device: CpuDevice, fusion: Fusion, parts: Sequence[Slice], *, on_wait: Callable[[str], None]) -> list[Reading]:
        del on_wait
        slices.extend(str(part) for part in parts)
        found = []
        for part in parts:
            resources = slice_resources(device, part)
            for name in KNOWN:
                work = anchor_readings.work_of(name, device, fusion)
                ours = SLOWNESS * float(roofline_ms(work, resources).sum()) + PER_KERNEL_MS * len(work.types)
                found.append(Reading(name, work, resources, SLOWER * ours))
        return found

    monkeypatch.setattr(anchor_readings, "read_anchors", read)
    return slices


def test_the_bundle_learns_how_slow_this_machine_is(run: Run, desk: Desk, here: Path, asked: list[str], tmp_path: Path) -> None:
    """Predictions for the calibrated machine are half as long again; those for the machine it was trained on stay; the base bundle is untouched."""
    before = load_bundle(desk.bundle).label
    outcome = run("calibrate", "--bundle", desk.bundle, "--device", here, "--to", tmp_path / "adapted", "-o", "json")

    def predicted(bundle: Path, device: Path) -> dict[str, object]:
        found: dict[str, object] = run("predict", desk.model, "--bundle", bundle, "--device", device, "--slice", "cpu:1", "-o", "json").json["predictions"][0]
        return found

    def median(found: dict[str, object]) -> float:
        latency = found["latencyMilliseconds"]
        assert isinstance(latency, dict)
        return float(latency["median"])

    assert outcome.status == 0
    assert asked == ["cpu:1", "cpu:4"]
    assert outcome.json["meanAbsoluteLogError"]["after"] < outcome.json["meanAbsoluteLogError"]["before"]
    assert outcome.json["bundle"]["version"] == load_bundle(tmp_path / "adapted").manifest.version
    base = median(predicted(desk.bundle, desk.device))
    assert median(predicted(tmp_path / "adapted", here)) == pytest.approx(SLOWER * base, rel=0.05)
    assert median(predicted(tmp_path / "adapted", desk.device)) == pytest.approx(base)
    assert predicted(tmp_path / "adapted", here)["basis"] == "extrapolated"
    assert load_bundle(desk.bundle).label == before


def test_people_are_told_what_it_is_worth(run: Run, desk: Desk, here: Path, asked: list[str], tmp_path: Path) -> None:
    """The error of the anchors before, and after by what the others taught; slices can be chosen."""
    outcome = run("calibrate", "--bundle", desk.bundle, "--device", here, "--to", tmp_path / "adapted", "--slice", "cpu:2")

    assert outcome.status == 0
    assert asked == ["cpu:2"]
    assert "8 anchors, 8 readings" in outcome.stdout
    assert "which knows here too" in outcome.stdout


def test_what_would_destroy_something_is_refused_before_measuring(run: Run, desk: Desk, here: Path, asked: list[str], tmp_path: Path) -> None:
    """A directory of something else, a bundle without --force, the base bundle itself, a place that is not there."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("precious")
    options = ("--bundle", desk.bundle, "--device", here)
    told = {
        tmp_path / "photos": "something else than a bundle",
        desk.bundle: "the bundle itself",
        tmp_path / "nowhere" / "bundle": "no such directory",
    }
    for target, reason in told.items():
        outcome = run("calibrate", *options, "--to", target, "--force")
        assert (outcome.status, outcome.stdout) == (1, "")
        assert reason in outcome.stderr
    assert asked == []
    assert (tmp_path / "photos" / "one.jpg").read_text() == "precious"

    assert run("calibrate", *options, "--to", tmp_path / "adapted").status == 0
    again = run("calibrate", *options, "--to", tmp_path / "adapted")
    assert again.status == 1
    assert "--force" in again.stderr
    assert run("calibrate", *options, "--to", tmp_path / "adapted", "--force").status == 0


def test_descriptors_of_other_machines_are_refused(run: Run, desk: Desk, here: Path, asked: list[str], tmp_path: Path) -> None:
    """Anchors are measured here: they say nothing of another CPU; and what the bundle was trained on needs none."""
    elsewhere = run("calibrate", "--bundle", desk.bundle, "--device", desk.device, "--to", tmp_path / "adapted")
    model = descriptors.read_device(here.read_bytes()).model
    here.write_bytes(descriptors.write_device(replace(DEVICE, model=model)))
    known = run("calibrate", "--bundle", desk.bundle, "--device", here, "--to", tmp_path / "adapted")

    assert (elsewhere.status, known.status) == (1, 1)
    assert "run it there" in elsewhere.stderr
    assert "trained on synthetic" in known.stderr
    assert asked == []
    assert not (tmp_path / "adapted").exists()


def test_fractions_of_a_core_are_refused(run: Run, desk: Desk, here: Path, asked: list[str], tmp_path: Path) -> None:
    """A quota throttles short visits at random."""
    outcome = run("calibrate", "--bundle", desk.bundle, "--device", here, "--to", tmp_path / "adapted", "--slice", "cpu:500m")

    assert outcome.status == 1
    assert "whole cores" in outcome.stderr
    assert asked == []


def test_anchors_are_really_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two anchors run for real on one core of this machine: a time each, above zero, with the kernels that serving sees."""
    monkeypatch.setattr(anchor_readings, "_REFERENCE_S", 0.05)
    told: list[str] = []
    names = ("gemm-197-384", "maxpool-64-112")
    rules = BatchRules(rounds=1, min_runs=2, min_s=0.001)
    found = anchor_readings.read_anchors(DEVICE, RuleFusion(), [parse_slice("cpu:1")], names, rules=rules, on_wait=told.append)

    assert [reading.name for reading in found] == list(names)
    assert all(reading.measured_ms > 0 and reading.slice_.threads == 1 for reading in found)
    assert [reading.work.types for reading in found] == [("Gemm",), ("MaxPool",)]
    assert told[0] == "measuring 2 anchor kernels on cpu:1"
    assert len(anchor_kernels.NAMES) <= 20

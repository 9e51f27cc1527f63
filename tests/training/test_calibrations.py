"""Calibration from anchor kernels, on a machine whose rule is known: every kernel takes a stated multiple of what the bundle says. No accuracy rests on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

# Imports it without the warnings of what torch is about to give up.
pytest.importorskip("torch_geometric", reason="needs the training extra")

from stowplan_fleet.slices import DeviceName, parse_slice
from stowplan_predictor.bundles.loading import Bundle, load_bundle
from stowplan_predictor.errors import BundleRefused
from stowplan_predictor.fusion import rules
from stowplan_predictor.graphs import loading
from stowplan_predictor.kernels.distances import Distance
from stowplan_predictor.kernels.latencies import isolated
from stowplan_predictor.kernels.resources import slice_resources
from stowplan_predictor.kernels.summaries import heavy
from stowplan_predictor.kernels.workloads import Workloads, workloads
from stowplan_predictor.training.calibration import anchor_kernels, calibrations, checks
from stowplan_predictor.training.calibration.calibrations import Calibration, Reading
from support.synthetic_bundles import DEVICE, write_synthetic_bundle

pytestmark = pytest.mark.train

NEW = replace(DEVICE, name=DeviceName("elsewhere"))
# Matrix kernels of the new machine take this many times what the bundle says; kernels bound by memory that many.
HEAVIER, LIGHTER = 1.5, 0.7


def work_of(name: str) -> Workloads:
    graph = loading.load_graph(anchor_kernels.blueprint(name).structure(), {})
    return workloads(graph, rules.fuse(graph))


def reading(bundle: Bundle, name: str, slice_name: str, noise: float) -> Reading:
    work, slice_ = work_of(name), slice_resources(NEW, parse_slice(slice_name))
    outcome = bundle.kernels.efficiencies([(work, slice_)])[0]
    assert not isinstance(outcome, Exception)
    truth = replace(outcome, log_ratio=outcome.log_ratio + np.where(heavy(work), np.log(HEAVIER), np.log(LIGHTER)))
    measured = isolated(work, slice_, truth, bundle.networks, Distance(nearest=str(DEVICE.name))).median_ms
    return Reading(name, work, slice_, measured * noise)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_synthetic_bundle(tmp_path / "base")


def known() -> list[str]:
    """Anchors that the synthetic bundle judges: it knows a few types only."""
    return ["conv3-64-56", "conv3-256-14", "conv1-64-56", "conv1-512-14", "depthwise3-64-112", "gemm-196-768", "gemm-197-384", "addition-256-56"]


def calibrated(bundle: Bundle, noise: float = 0.0) -> Calibration:
    generator = np.random.default_rng(0)
    readings = [reading(bundle, name, part, float(np.exp(noise * generator.normal()))) for name in known() for part in ("cpu:1", "cpu:2")]
    return calibrations.fit(readings, bundle, NEW)


def test_offsets_are_found_again(base: Path) -> None:
    """A machine whose matrix kernels are half as slow again and whose memory is faster is recognised as that, for each number of threads."""
    found = calibrated(load_bundle(base))

    assert set(found.offsets) == {"1", "2"}
    for offset in found.offsets.values():
        assert offset.heavy == pytest.approx(np.log(HEAVIER), abs=0.1)
        assert offset.light < 0
    assert found.after_log_error < found.before_log_error / 2


def test_anchors_that_disagree_widen_the_interval(base: Path) -> None:
    """How sure a calibration is, is in every answer."""
    bundle = load_bundle(base)

    assert calibrated(bundle, noise=0.3).offsets["1"].uncertainty > calibrated(bundle, noise=0.02).offsets["1"].uncertainty


def test_a_calibrated_bundle_answers_for_the_new_machine(base: Path, tmp_path: Path) -> None:
    """Written and read again, it predicts the new machine's times, says that no network was measured there, and leaves the old machine alone."""
    bundle = load_bundle(base)
    found = calibrated(bundle)

    version = calibrations.write(base, NEW, found, tmp_path / "new", {"date": "2026-11-22"})

    again = load_bundle(tmp_path / "new")
    assert again.manifest.version == version != bundle.manifest.version
    assert again.manifest.provenance["calibrations"]["elsewhere"]["base"]["version"] == bundle.manifest.version
    work, slice_ = work_of("gemm-196-768"), slice_resources(NEW, parse_slice("cpu:1"))
    outcome = again.kernels.efficiencies([(work, slice_)])[0]
    assert not isinstance(outcome, Exception)
    there, here = (isolated(work, slice_, outcome, again.networks, Distance(nearest=name)) for name in ("elsewhere", "synthetic"))
    assert there.median_ms / here.median_ms == pytest.approx(HEAVIER, rel=0.1)
    assert any("calibrated from" in reason for reason in there.reasons)
    assert not here.reasons


def test_an_altered_calibrated_bundle_is_refused(base: Path, tmp_path: Path) -> None:
    """A calibration is part of the bundle's version like everything else."""
    calibrations.write(base, NEW, calibrated(load_bundle(base)), tmp_path / "new", {})
    table = tmp_path / "new" / "networks.json"
    table.write_bytes(table.read_bytes().replace(b'"anchors": 16', b'"anchors": 96'))

    with pytest.raises(BundleRefused, match="altered"):
        load_bundle(tmp_path / "new")


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_anchors_are_refused(base: Path, count: int) -> None:
    """A median of three kernels says nothing of a machine."""
    bundle = load_bundle(base)

    with pytest.raises(ValueError, match="anchors"):
        calibrations.fit([reading(bundle, name, "cpu:1", 1.0) for name in known()[:count]], bundle, NEW)


def test_there_are_twenty_anchors_and_each_is_a_kernel_or_two() -> None:
    """Anchors are few and small, and the same graph with weights (to be measured) and without (to be predicted)."""
    assert len(anchor_kernels.NAMES) == calibrations.MOST_ANCHORS
    for name in anchor_kernels.NAMES:
        drawn = anchor_kernels.blueprint(name)
        assert drawn.parameters < 4_000_000
        assert loading.load_graph(drawn.network(), {}).digest == loading.load_graph(drawn.structure(), {}).digest
        assert len(work_of(name).types) <= 2


def test_what_all_folds_say_is_told_together() -> None:
    """Errors before and after, over every network of every fold."""
    found = checks.document([checks.FoldCheck(number, 20 - number, (0.5, -0.5), (0.05, -0.02)) for number in range(5)], "sha256:data")

    assert (found["folds"], found["anchors"], found["data"]) == (5, 20, "sha256:data")
    assert found["before"] == {"cases": 10, "median_ape_percent": 52.11, "mape_percent": 52.11, "within_10_percent": 0.0}
    assert found["after"]["within_10_percent"] == 100.0

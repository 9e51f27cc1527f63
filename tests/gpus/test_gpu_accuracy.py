"""What is committed about GPUs hangs together: the page follows from the predictions, the bundle from the code, the laws from their published check."""

import json
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs the training extra")

from stowplan_fleet.slices import SliceKind
from stowplan_predictor.bundles.loading import shipped_folder
from stowplan_predictor.bundles.manifests import MANIFEST
from stowplan_predictor.training.gpus import fits, pages, predictions, published, scores, sharing_checks

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "datasets" / predictions.FOLDER / predictions.FILE


def test_the_page_is_what_the_predictions_say() -> None:
    """docs/gpu-accuracy.md is rendered from the committed predictions, no table of it edited by hand."""
    assert (ROOT / "docs" / "gpu-accuracy.md").read_text() == pages.page(predictions.read(COMMITTED))


def test_predictions_are_small_and_whole() -> None:
    """At most five megabytes, every GPU and every system, with no number missing."""
    found = predictions.read(COMMITTED)

    assert COMMITTED.stat().st_size < 5 << 20
    assert set(found.models.tolist()) == {"A100", "P100", "P4", "T4", "V100"}
    assert {"ours", "mean", "roofline", "linear", "forests", "boosted", "gnn", "physics"} <= found.zero.keys()
    assert all(scores.errors(found, values).max() < 1e9 for values in found.zero.values())


def test_the_bundle_was_trained_by_this_code_from_the_published_tables() -> None:
    """Code that decides what the bundle holds has not changed since, and it names the source of its data with licence and checksum."""
    manifest = json.loads((shipped_folder(fits.RUNTIME) / MANIFEST).read_bytes())

    assert manifest["provenance"]["code"] == fits.code_digest(), "code that decides the GPU bundle changed: train it again"
    assert manifest["provenance"]["source"]["url"] == published.SOURCE
    assert manifest["provenance"]["source"]["licence"] == "MIT"
    assert manifest["provenance"]["source"]["tables"] == predictions.source()


def test_sharing_laws_hold_against_the_published_table() -> None:
    """Equal turns come within 15 % of the published seconds, resources used at once within 20 %, and nothing at all within 2 %."""
    worst = {SliceKind.TIME: 15.0, SliceKind.MPS: 20.0, SliceKind.MIG: 2.0}
    checks = sharing_checks.checks()

    assert len(checks) == 9
    for check in checks:
        assert abs(check.error_percent) <= worst[check.kind], check

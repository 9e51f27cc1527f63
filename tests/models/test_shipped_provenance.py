"""The shipped bundle is the one that this tree makes: its manifest's digests of data and code are those of the tree."""

import json
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs the training extra")

import stowplan_predictor
from stowplan_predictor.bundles.manifests import MANIFEST
from stowplan_predictor.training.bundles import provenances as bundle_provenances

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = Path(stowplan_predictor.__file__).parent / "shipped" / "onnxruntime-cpu"


def manifest() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((SHIPPED / MANIFEST).read_bytes())
    return found


def test_the_bundle_was_trained_from_the_committed_data() -> None:
    """Every measured table that it names is in `datasets/`, byte for byte."""
    for device, entry in manifest()["provenance"]["datasets"].items():  # type: ignore[attr-defined]
        assert entry["files"] == bundle_provenances.data_files(ROOT / "datasets" / device), "measured data changed: train again with `make train`"


def test_the_bundle_was_trained_by_this_code() -> None:
    """Code that decides what a bundle holds, or how it is read, has not changed since; comments and docstrings may."""
    assert manifest()["provenance"]["code"] == bundle_provenances.code_digest(), "code that decides a bundle changed: train again with `make train`"


def test_light_models_trained_nothing() -> None:
    """None of the light models' graphs is among those that the bundle learned from, and what serves each stage is named."""
    named = manifest()
    trained = {graph for entry in named["provenance"]["trained_on"].values() for graph in entry["graphs"]}  # type: ignore[attr-defined]

    assert trained
    assert {"fusion", "kernels", "networks"} <= named["models"].keys()
    assert named["errors"]["light"]["held_out_families"]  # type: ignore[index]

"""The committed data set and its folds keep their promises."""

import json
from collections import Counter
from pathlib import Path

import pytest
from stowplan_predictor.training.campaigns import assemblies
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.rows import StructureRow
from stowplan_predictor.training.generated import kinds as random_kinds
from stowplan_predictor.training.zoo import entries as zoo

_ROOT = Path(__file__).resolve().parents[2] / "datasets"
_DEVICES = sorted(path.parent for path in _ROOT.glob("*/provenance.json"))


def test_committed_folds_are_what_the_catalogue_deals() -> None:
    """The file is made by code, and names every family and every generator configuration once."""
    folds = json.loads((_ROOT / "splits.json").read_text())["folds"]

    assert folds == assemblies.folds()
    for kind in random_kinds.KINDS:
        sizes = Counter(folds[name] for name in random_kinds.configurations(kind))
        assert len(sizes) == zoo.FOLDS
        assert max(sizes.values()) - min(sizes.values()) <= 1


@pytest.mark.parametrize("folder", _DEVICES, ids=lambda folder: folder.name)
def test_every_family_has_a_fold(folder: Path) -> None:
    """Nobody measured is left out of the folds but the light models, which only judge."""
    folds = datasets.read_splits(_ROOT / "splits.json")
    rows = datasets.read_rows(folder / "structures.parquet", StructureRow)

    assert {row.family for row in rows if row.split != "light"} <= folds.keys()
    assert {row.network for row in rows if row.split == "light"} == {entry.name for entry in zoo.entries() if entry.split == "light"}
    assert {row.family for row in rows if row.split == "light"} == zoo.light_families()


def test_data_sets_suit_git() -> None:
    """At most 30 MB in all, predictions and judgements included."""
    assert sum(path.stat().st_size for path in _ROOT.rglob("*") if path.is_file()) <= 30e6

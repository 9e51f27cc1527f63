"""The data card says what the committed data set holds."""

from pathlib import Path

import pytest
from stowplan_predictor.training.data import agreements as data_agreements
from stowplan_predictor.training.data import datasets, profiler_overheads
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.profiler_overheads import Pair, ProfilerOverhead
from stowplan_predictor.training.pages import data_cards, data_tables

_ROOT = Path(__file__).resolve().parents[2] / "datasets"
_FOLDER = min(path for path in _ROOT.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def data() -> Dataset:
    """The committed data set."""
    return datasets.read_dataset(_FOLDER)


def test_the_data_set_is_as_broad_as_promised(data: Dataset) -> None:
    """At least 150 models of at least 25 families on one core and on two, and at least 60 000 kernel records."""
    for part in ("cpu:1", "cpu:2"):
        measured = {row.network for row in data.networks if row.slice == part} & {row.network for row in data.structures.values() if row.split == "zoo"}
        assert len({data_tables.model_of(network) for network in measured}) >= 150
        assert len({data.structures[network].family for network in measured}) >= 25
    assert len(data.kernels) >= 60_000


def test_every_family_and_slice_is_named(data: Dataset) -> None:
    """Nobody has to open a Parquet file to know what is in it."""
    card = data_cards.card(data, datasets.read_splits(_ROOT / "splits.json"), _FOLDER)

    assert all(f"| {row.family} | " in card for row in data.structures.values() if row.split == "zoo")
    assert all(f"`{row.slice}`" in card for row in data.networks)
    assert data.provenance["date"]["last"] in card


def test_profiles_agree_within_the_bar_after_correction() -> None:
    """A profile that is off by what the profiler adds agrees; one that is off by more than a twentieth beyond it does not, on either side."""
    overhead = ProfilerOverhead(kernel_us=2.0, session_us=10.0, pairs=20, median_error_percent=0.0, uncorrected_median_error_percent=0.0)
    profiled = {"exact": 1090.0, "within": 1130.0, "slow profile": 1160.0, "slow run": 1020.0}
    pairs = [Pair(name, "cpu:1", 50, sum_us, 1000.0) for name, sum_us in profiled.items()]
    found = data_agreements.agreement(pairs, overhead)

    assert data_agreements.deviation(pairs[0], overhead) == pytest.approx(0.0)
    assert (found.profiles, found.agreeing_profiles, found.above, found.below) == (4, 2, 1, 1)
    assert (found.kernels, found.agreeing_kernels) == (200, 100)


def test_left_out_profiles_are_counted(data: Dataset) -> None:
    """Every profile with runs next to it either agrees or is counted as left out."""
    overheads = profiler_overheads.fit(data)
    for part, overhead in overheads.items():
        pairs = [pair for pair in profiler_overheads.pairs(data) if pair.slice == part]
        found = data_agreements.agreement(pairs, overhead)
        assert found.agreeing_profiles + found.above + found.below == found.profiles == len(pairs)

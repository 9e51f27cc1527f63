"""The data card says what the committed data set holds."""

import re
from collections import Counter
from pathlib import Path

import pytest
from stowplan_predictor.training.campaigns import isolated_lists, plans
from stowplan_predictor.training.data import agreements, datasets, profiler_overheads
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.profiler_overheads import Pair, ProfilerOverhead
from stowplan_predictor.training.generated import kinds
from stowplan_predictor.training.pages import data_cards, data_tables

_ROOT = Path(__file__).resolve().parents[2] / "datasets"
_FOLDER = min(path.parent for path in _ROOT.glob("*/provenance.json"))


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


def test_sizes_and_batches_vary(data: Dataset) -> None:
    """Some published models at several sizes or batch sizes, in several families; fractions of cores on a subset of a dozen."""
    zoo = [row for row in data.structures.values() if row.split == "zoo"]
    variants = Counter(data_tables.model_of(row.network) for row in zoo)

    assert sum(count > 1 for count in variants.values()) >= 8
    assert len({row.family for row in zoo if row.batch > 1}) >= 5
    for part in plans.FRACTIONAL:
        assert len({row.network for row in data.networks if row.slice == part}) >= 12


def test_as_many_random_networks_as_promised(data: Dataset) -> None:
    """At least 3,000 fully connected and 1,500 convolutional ones on one core, every configuration of the generator among them, and some on two cores."""
    for kind, least in (("fnn", 3000), ("cnn", 1500)):
        own = [row for row in data.randoms if row.kind == kind]
        assert len({row.network for row in own if row.slice == "cpu:1"}) >= least
        assert {row.family for row in own} == set(kinds.configurations(kind))
        assert len({row.network for row in own if row.slice == "cpu:2"}) >= 80


def test_kernels_were_sampled_where_models_err(data: Dataset) -> None:
    """Rounds say what they were chosen by: errors of kernel models on held-out families, more than once, and a list; what was planned was mostly measured."""
    rounds = data.provenance["isolated_rounds"]
    measured = Counter(network.split("-")[1] for network in {row.network for row in data.isolated})

    assert sum("held-out errors" in told["source"] for told in rounds) >= 2
    assert any(told["source"] == isolated_lists.SOURCE for told in rounds)
    assert set(measured) == {str(told["round"]) for told in rounds}
    assert sum(measured.values()) >= 0.8 * sum(sum(told["counts"].values()) for told in rounds)
    modes = {re.search(r'"mode":"(\w+)"', row.spec)[1] for row in data.isolated if "Resize" in row.op_types}  # type: ignore[index]
    assert modes == {"nearest", "linear", "cubic"}


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
    found = agreements.agreement(pairs, overhead)

    assert agreements.deviation(pairs[0], overhead) == pytest.approx(0.0)
    assert (found.profiles, found.agreeing_profiles, found.above, found.below) == (4, 2, 1, 1)
    assert (found.kernels, found.agreeing_kernels) == (200, 100)


def test_left_out_profiles_are_counted(data: Dataset) -> None:
    """Every profile with runs next to it either agrees or is counted as left out."""
    overheads = profiler_overheads.fit(data)
    for part, overhead in overheads.items():
        pairs = [pair for pair in agreements.judged_pairs(data) if pair.slice == part]
        found = agreements.agreement(pairs, overhead)
        assert found.agreeing_profiles + found.above + found.below == found.profiles == len(pairs)

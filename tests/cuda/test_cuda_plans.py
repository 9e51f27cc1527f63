"""Plans of the GPU campaign: what is measured, in which order, within which time; all of it known without a GPU."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.kernels.intervals import least_residuals
from stowplan_predictor.training.cuda import campaigns, plans, random_kernels
from stowplan_predictor.training.cuda import lanes as campaign_lanes
from stowplan_predictor.training.cuda.plans import EAGER, INDUCTOR, Kind, Unit
from stowplan_predictor.training.gpubundles import judgements
from stowplan_predictor.training.zoo import entries as zoo

FREE = {"green": "not needed", "mig": "off"}


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("runtime", [INDUCTOR, EAGER])
def test_a_campaign_has_networks_kernels_parts_and_pairs_and_all_of_them_early(runtime: str, lanes: int) -> None:
    """The zoo, random blocks, MPS percentages, neighbours under MPS and in turns; the first slice of work has some of each."""
    units = plans.plan(runtime, FREE)
    first = units[: plans.within(units, campaigns.MINUTES, lanes)]

    assert len({unit.key for unit in units}) == len(units)
    assert {unit.kind for unit in units} == {unit.kind for unit in first} == set(Kind)
    assert {unit.sharing for unit in units if unit.kind is Kind.PAIR} == {"mps-50", "time-2"}
    assert {unit.sharing for unit in units if unit.kind is Kind.PARTITION} == {"mps-50", "mps-33", "mps-25", "mps-20", "mps-14", "mps-10"}
    assert all(unit.expected_s(lanes) <= 120 for unit in units)


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("runtime", [INDUCTOR, EAGER])
def test_the_budget_holds_what_a_bundle_needs(runtime: str, lanes: int) -> None:
    """Expected within 24.5 minutes, also one by one: nineteen networks of ten families at least, nineteen rows on shares, twenty pairs of each kind."""
    units = plans.plan(runtime, FREE)
    held = units[: plans.within(units, campaigns.MINUTES_IN_ALL, lanes)]
    families = {entry.name: entry.family for entry in plans.chosen()}
    measured = [unit.subject for unit in held if unit.kind is Kind.NETWORK]

    assert sum(unit.expected_s(lanes) for unit in held) <= campaigns.MINUTES_IN_ALL * 60 < 25 * 60
    assert len(measured) >= least_residuals(judgements.COVERAGE)
    assert len({families[name] for name in measured}) >= 10
    assert sum(unit.kind is Kind.PARTITION for unit in held) * len(plans.PARTITIONED) >= least_residuals(judgements.COVERAGE)
    assert sum(unit.kind is Kind.PAIR for unit in held) == 2
    assert len(plans.PAIRED) * (len(plans.PAIRED) - 1) >= least_residuals(judgements.COVERAGE)
    assert sum(unit.kind is Kind.KERNELS for unit in held) >= 6
    if runtime == EAGER or lanes == 4:
        assert len(measured) >= 28


@given(st.lists(st.sampled_from(plans.plan(INDUCTOR, FREE)), unique=True), st.integers(1, 4))
def test_batches_keep_the_order_and_every_unit(planned: list[Unit], lanes: int) -> None:
    """Networks and blocks so many at a time; partitions and pairs by themselves."""
    found = list(campaign_lanes.batches(planned, lanes))

    assert [unit for batch in found for unit in batch] == planned
    assert all(1 <= len(batch) <= lanes for batch in found)
    assert all(len(batch) == 1 or all(unit.is_prepared_beside_others for unit in batch) for batch in found)


def test_networks_are_one_of_each_family_after_those_of_the_parts() -> None:
    """Breadth first; every one of them is in the zoo."""
    chosen = plans.chosen()
    names = {entry.name for entry in zoo.entries()}

    assert [entry.name for entry in chosen[: len(plans.PARTITIONED)]] == list(plans.PARTITIONED)
    assert len({entry.family for entry in chosen}) == len(chosen)
    assert {entry.name for entry in chosen} <= names


def test_only_networks_that_can_be_joined_with_a_graph_are_measured() -> None:
    """Those that the data set on CPUs could not export are left out, and no others."""
    provenance = json.loads((Path(__file__).parents[2] / "datasets" / "AMD-EPYC-family-25-model-17" / "provenance.json").read_text())
    failed = {key.removeprefix("export__") for key in provenance["left_out"] if key.startswith("export__")}

    assert failed
    assert failed == plans.NOT_EXPORTED
    assert not failed & {entry.name for entry in plans.chosen()}
    assert set(plans.PAIRED) <= {entry.name for entry in plans.chosen()}


@pytest.mark.parametrize(
    ("skips", "gone", "instead"),
    [
        ({"mps": "none"}, "mps-", "green-"),
        ({"mps": "none", "green": "none"}, "mps-", "time-"),
        ({"mps": "none", "time": "none", "green": "none"}, "-", "full"),
    ],
)
def test_what_a_machine_does_not_allow_is_not_planned(skips: dict[str, str], gone: str, instead: str) -> None:
    """No unit is planned that needs a part with a reason against it; green contexts take the place of MPS."""
    sharings = {unit.sharing for unit in plans.plan(EAGER, skips)}

    assert not any(gone in sharing for sharing in sharings)
    assert any(sharing.startswith(instead) for sharing in sharings)


def test_without_triton_nothing_is_compiled() -> None:
    """And eager goes on."""
    assert plans.plan(INDUCTOR, {"inductor": "no triton"}) == ()
    assert plans.plan(EAGER, {"inductor": "no triton"})


def test_on_a_cut_gpu_its_instances_are_measured_and_nothing_else() -> None:
    """A process sees one instance at a time; the whole GPU is not there."""
    units = plans.plan(EAGER, {"mps": "MIG is on", "time": "MIG is on", "green": "MIG is on"}, ("3g.40gb", "1g.10gb+me"))
    assert [unit.sharing for unit in units] == ["mig-3g.40gb", "mig-1g.10gb.me"]


@given(st.integers(0, 10**6))
def test_random_kernels_are_the_same_for_a_seed_and_within_bounds(seed: int) -> None:
    """Sixteen specifications of positive sizes; groups divide channels."""
    block = random_kernels.block(seed, 16)

    assert block == random_kernels.block(seed, 16)
    assert len(block) == 16
    for spec in block:
        assert all(size >= 1 for size in spec.sizes)
        assert set(spec.chain) <= set(random_kernels.POINTWISE)
        if spec.kind in {"conv", "depthwise"}:
            _, given_channels, made, _, _, _, groups = spec.sizes
            assert given_channels % groups == 0
            assert made % groups == 0

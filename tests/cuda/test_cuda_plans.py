"""Plans of the GPU campaign: what is measured, in which order, within which time; all of it known without a GPU."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.training.cuda import campaigns, plans, random_kernels
from stowplan_predictor.training.cuda.plans import EAGER, INDUCTOR, Kind
from stowplan_predictor.training.zoo import entries as zoo

FREE = {"green": "not needed", "mig": "off"}


@pytest.mark.parametrize("runtime", [INDUCTOR, EAGER])
def test_a_campaign_has_networks_kernels_parts_and_pairs_and_all_of_them_early(runtime: str) -> None:
    """The zoo, random blocks, MPS percentages, neighbours under MPS and in turns; the first slice of work has some of each."""
    units = plans.plan(runtime, FREE)
    first = [unit for unit, end in zip(units, accumulate(unit.expected_s for unit in units), strict=True) if end <= campaigns.MINUTES * 60]

    assert len({unit.key for unit in units}) == len(units)
    assert {unit.kind for unit in units} == set(Kind)
    assert {Kind.NETWORK, Kind.KERNELS} <= {unit.kind for unit in first}
    assert {unit.sharing for unit in units if unit.kind is Kind.PAIR} == {"mps-50", "time-2"}
    assert {unit.sharing for unit in units if unit.kind is Kind.PARTITION} == {"mps-50", "mps-33", "mps-25", "mps-20", "mps-14", "mps-10"}


def test_networks_are_one_of_each_family_after_those_of_the_parts() -> None:
    """Breadth first; every one of them is in the zoo."""
    chosen = plans.chosen()
    names = {entry.name for entry in zoo.entries()}

    assert [entry.name for entry in chosen[: len(plans.PARTITIONED)]] == list(plans.PARTITIONED)
    rest = [entry.family for entry in chosen[len(plans.PARTITIONED) :]]
    assert len(set(rest)) == len(rest)
    assert {entry.name for entry in chosen} <= names


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

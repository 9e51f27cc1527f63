"""Slices and slice classes as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet import slices
from stowplan_fleet.errors import SliceNameRefused
from stowplan_fleet.slices import SliceClass
from support import strategies


@given(strategies.slice_classes)
def test_a_slice_class_reads_back_from_its_text(slice_class: SliceClass) -> None:
    """What an annotation carries is the very class that was written."""
    assert slices.parse_slice_class(str(slice_class)) == slice_class


@given(st.text(max_size=40))
def test_any_text_is_a_slice_class_or_refused_by_name(text: str) -> None:
    """Hostile annotations lead to SliceNameRefused and nothing else."""
    try:
        parsed = slices.parse_slice_class(text)
    except SliceNameRefused:
        return
    assert slices.parse_slice_class(str(parsed)) == parsed


@pytest.mark.parametrize(("one", "other"), [("mig-1g.10gb+me", "mig-1g.10gb.me"), ("cpu:1000m", "cpu:1"), ("cpu:0.5", "cpu:500m")])
def test_two_spellings_of_one_slice_are_equal(one: str, other: str) -> None:
    """Equality of slices does not depend on how a person wrote them."""
    assert slices.parse_slice(one) == slices.parse_slice(other)


@pytest.mark.parametrize("text", ["cpu:0", "cpu:-1", "cpu:9999999", "mps-0", "mps-101", "time-0", "mig-8g.1gb", "mig-1g", "Full", "", "cpu:1e9"])
def test_what_is_no_slice_is_refused(text: str) -> None:
    """Near misses are refused with what would be right."""
    with pytest.raises(SliceNameRefused):
        slices.parse_slice(text)


@pytest.mark.parametrize(("replicas", "percent"), [(2, 50), (3, 33), (4, 25), (6, 16), (7, 14), (8, 12), (10, 10)])
def test_mps_percentages_are_the_device_plugins(replicas: int, percent: int) -> None:
    """int(100 / replicas), as NVIDIA's device plugin sets it."""
    assert slices.mps_percent(replicas) == percent

"""Slices in physical terms."""

import pytest
from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.slices import parse_slice
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.resources import slice_resources
from stowplan_predictor.kernels.throttles import longest_stop_ms, sustained_ms
from support.synthetic_bundles import DEVICE


def test_whole_cores_are_never_throttled() -> None:
    """A slice of whole cores runs all the time and never stops."""
    slice_ = slice_resources(DEVICE, parse_slice("cpu:2"))

    assert (slice_.threads, slice_.share, slice_.fractional) == (2, 1.0, False)
    assert sustained_ms(7.0, slice_) == 7.0
    assert longest_stop_ms(slice_) == 0.0


def test_half_a_core_takes_twice_as_long() -> None:
    """cpu:500m runs one thread half of the time; a stop lasts half of the 100 ms period."""
    slice_ = slice_resources(DEVICE, parse_slice("cpu:500m"))

    assert (slice_.threads, slice_.share) == (1, 0.5)
    assert sustained_ms(7.0, slice_) == 14.0
    assert longest_stop_ms(slice_) == 50.0


def test_a_core_and_a_half_runs_two_threads_three_quarters_of_the_time() -> None:
    """A fraction above one core is threads rounded up, held back by the quota."""
    slice_ = slice_resources(DEVICE, parse_slice("cpu:1500m"))

    assert (slice_.threads, slice_.share) == (2, 0.75)


def test_throughput_between_two_measured_counts_is_linear() -> None:
    """Three cores lie between the measured two and four."""
    slice_ = slice_resources(DEVICE, parse_slice("cpu:3"))

    assert slice_.flops_per_second == pytest.approx(3e11)
    assert slice_.bandwidth_bytes_per_second == pytest.approx(1.75e10)


@pytest.mark.parametrize("text", ["cpu:5", "mig-1g.10gb", "full", "mps-25", "time-4"])
def test_slices_the_device_does_not_have_are_refused(text: str) -> None:
    """Larger than the device, or of a GPU's kind: no judgement, with the slice's name."""
    with pytest.raises(CannotJudge) as refused:
        slice_resources(DEVICE, parse_slice(text))

    assert refused.value.reason is UnknownReason.SLICE_NOT_SUPPORTED
    assert text in refused.value.message

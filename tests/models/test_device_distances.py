"""How far a device may be from those measured."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import DeviceName, parse_slice
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.distances import FARTHEST_LOG, device_distance, slice_distance
from stowplan_predictor.kernels.resources import slice_resources
from support.synthetic_bundles import DEVICE


def scaled(factor: float) -> CpuDevice:
    return replace(
        DEVICE, throughputs=tuple(CoreThroughput(t.cores, t.flops_per_second * factor, t.bandwidth_bytes_per_second * factor) for t in DEVICE.throughputs)
    )


def test_the_measured_device_is_at_distance_zero_under_any_name() -> None:
    """The descriptor decides, not the name."""
    distance = device_distance(replace(DEVICE, name=DeviceName("other")), [DEVICE])

    assert (distance.log_factor, distance.reasons) == (0.0, ())


@given(st.floats(min_value=0.13, max_value=7.9))
def test_distance_is_the_log_of_the_largest_ratio(factor: float) -> None:
    """A device `factor` times as fast is |log factor| away, faster or slower."""
    distance = device_distance(scaled(factor), [DEVICE])

    assert distance.log_factor == pytest.approx(abs(math.log(factor)), abs=1e-9)
    assert bool(distance.reasons) == (abs(math.log(factor)) > math.log(1.25))


@pytest.mark.parametrize("factor", [0.1, 9.0])
def test_beyond_the_stated_limit_nothing_is_said(factor: float) -> None:
    """Beyond a factor of eight there is no judgement; the message names the quantity."""
    with pytest.raises(CannotJudge) as refused:
        device_distance(scaled(factor), [DEVICE])

    assert refused.value.reason is UnknownReason.DEVICE_NOT_SUPPORTED
    assert "FLOP/s" in refused.value.message
    assert abs(math.log(factor)) > FARTHEST_LOG


def test_a_cpu_of_another_kind_is_not_supported() -> None:
    """No instruction-set extension in common: nothing measured says anything about it."""
    with pytest.raises(CannotJudge) as refused:
        device_distance(replace(DEVICE, isa=("asimd",)), [DEVICE])

    assert refused.value.reason is UnknownReason.DEVICE_NOT_SUPPORTED


def test_other_instruction_sets_and_made_up_descriptors_are_extrapolations() -> None:
    """Equal numbers with other instruction sets, or numbers a person made up, are not called measured."""
    assert device_distance(replace(DEVICE, isa=("avx2", "avx512f", "fma")), [DEVICE]).reasons
    assert device_distance(replace(DEVICE, fabricated=True), [DEVICE]).reasons


def test_the_nearest_measured_device_counts() -> None:
    """With two measured devices, the distance is to the nearer one."""
    assert device_distance(scaled(2.0), [DEVICE, scaled(2.1)]).log_factor == pytest.approx(math.log(1.05))


def test_slices_beyond_those_measured() -> None:
    """A measured slice is at distance zero; twice the cores widen by log 2; four times the cores is the limit; under 100m nothing is said."""
    assert slice_distance(slice_resources(DEVICE, parse_slice("cpu:2")), (1000, 2000)).reasons == ()
    assert slice_distance(slice_resources(DEVICE, parse_slice("cpu:4")), (1000, 2000)).log_factor == pytest.approx(math.log(2))
    assert slice_distance(slice_resources(DEVICE, parse_slice("cpu:250m")), (1000, 2000)).reasons
    huge = replace(DEVICE, cores=64, throughputs=(*DEVICE.throughputs, CoreThroughput(64, 4e12, 1e11)))
    for text in ("cpu:9", "cpu:50m"):
        with pytest.raises(CannotJudge):
            slice_distance(slice_resources(huge, parse_slice(text)), (1000, 2000))

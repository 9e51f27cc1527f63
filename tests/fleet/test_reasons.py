"""Reasons in words."""

import re

from stowplan_fleet import reasons
from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.reasons import ConditionReason, ConditionType
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import parse_slice_class


def test_reasons_of_conditions_are_acceptable_to_the_api() -> None:
    """Condition types and reasons match the API conventions' pattern, CamelCase, each once."""
    for member in (*ConditionType, *ConditionReason):
        assert re.fullmatch(r"[A-Z][A-Za-z]{2,}", member.value)
    assert len({reason.value for reason in ConditionReason}) == len(ConditionReason)


def test_sentences_say_what_and_how_much() -> None:
    """A refusal names slice, percentile, prediction and objective, or the resident."""
    slice_class = parse_slice_class("epyc/cpu:1")

    assert reasons.too_slow_alone(slice_class, 95, 123.456, 50.0) == "epyc/cpu:1 is too slow even alone: p95 up to 123 ms, objective 50 ms"
    assert "vision/resnet50" in reasons.resident_denies_sharing(ServiceName("vision/resnet50"))
    assert "DeviceNotDescribed" in reasons.not_judged(UnknownReason.DEVICE_NOT_DESCRIBED, "")

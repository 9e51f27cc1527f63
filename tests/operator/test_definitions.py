"""Whether our API is there at all is told when it changes, and only then."""

import logging

import pytest
from prometheus_client import CollectorRegistry, Gauge
from stowplan_operator.errors import ApiFailed
from stowplan_operator.reconciling.definitions import Definitions


async def test_a_definition_that_goes_and_comes_back_is_told_once_each(caplog: pytest.LogCaptureFixture) -> None:
    """The gauge is the last answer; who does not answer changes nothing; a line where it goes, one where it is back."""
    caplog.set_level(logging.INFO)
    registry = CollectorRegistry()
    answers: list[bool | None] = [True, False, None, False, True, True]

    async def served() -> bool:
        answer = answers.pop(0)
        if answer is None:
            raise ApiFailed("nobody answers")
        return answer

    found = Definitions(served, Gauge("definition_served", "", registry=registry), 1.0)
    told = []
    while answers:
        await found.look()
        told.append(registry.get_sample_value("definition_served"))
    assert told == [1, 0, 0, 0, 1, 1]
    assert [record.getMessage().partition(" InferenceServices ")[2][:8] for record in caplog.records] == ["is gone;", "is there"]

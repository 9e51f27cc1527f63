"""A wall clock that jumps is named, in either direction, and drift is not."""

import pytest
from prometheus_client import CollectorRegistry, Counter
from stowplan_extender.clocks import ClockWatch
from support.virtual_clocks import HandClock


def test_jumps_are_counted_and_said_and_drift_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """A second of drift a minute is none of our business; an hour ahead and a day back are one jump each, however often one looks."""
    wall, steady, registry = HandClock(), HandClock(), CollectorRegistry()
    watch = ClockWatch(Counter("clock_jumps", "", registry=registry), wall, steady)
    for _ in range(10):
        wall.now, steady.now = wall.now + 61, steady.now + 60
        watch.look()
    assert not caplog.records
    for jump_s in (3_600, -86_400):
        wall.now += jump_s
        watch.look()
        watch.look()
    assert registry.get_sample_value("clock_jumps_total") == 2
    assert [record.__dict__["seconds"] for record in caplog.records] == [3_600, -86_400]

"""What a service's rung remembers: across restarts, through clocks that jump, and whatever somebody else wrote there."""

import datetime as dt
import logging
from typing import Any

import pytest
from support.operator_scenes import Scene


async def waiting(seconds: float, **spec: Any) -> Scene:
    """A scene whose pod has found no place for so long."""
    scene = Scene(**spec)
    await scene.look()
    scene.world.put_pods(scene.name, 1, unschedulable_since="2026-11-22T08:00:00Z")
    await scene.look()
    await scene.wait(seconds)
    return scene


async def test_a_restart_does_not_delay_a_climb() -> None:
    """An operator that is restarted again and again while a pod waits climbs when one that ran on would have climbed."""
    scene = await waiting(170)
    scene.restart()
    await scene.wait(100)
    scene.restart()
    await scene.wait(89)
    assert scene.status["sliceClass"] == "test-cpu/cpu:1"
    assert scene.status["rung"]["waitingSince"] == "2026-11-22T08:00:00Z"
    scene.restart()
    await scene.wait(1)
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"


async def test_a_restart_does_not_try_a_full_rung_again_and_keeps_the_hysteresis() -> None:
    """The rung that was left stays left for its half hour, and the present one is held for its own, over restarts."""
    scene = await waiting(360)
    assert scene.status["rung"]["blocked"] == [{"sliceClass": "test-cpu/cpu:1", "until": "2026-11-22T08:36:00Z"}]
    assert {rung["sliceClass"]: rung.get("skipped") for rung in scene.status["ladder"]} == {
        "test-cpu/cpu:1": "NoSpareSlice",
        "test-cpu/cpu:2": None,
        "test-cpu/cpu:3": "Dearer",
        "test-cpu/cpu:4": "Dearer",
    }
    scene.world.put_pods(scene.name, 1)
    for _ in range(3):
        scene.restart()
        await scene.wait(590)
        assert scene.status["sliceClass"] == "test-cpu/cpu:2"
        assert scene.status["rung"]["since"] == "2026-11-22T08:06:00Z"
    scene.restart()
    await scene.wait(40)
    assert scene.status["sliceClass"] == "test-cpu/cpu:1"
    assert scene.status["rung"] == {"since": "2026-11-22T08:36:10Z"}


async def test_what_is_remembered_is_written_once() -> None:
    """While a pod waits and nothing changes, nothing is written."""
    scene = await waiting(100)
    scene.world.writes.clear()
    await scene.wait(30.4)
    await scene.wait(30.4)
    assert scene.world.writes == []


@pytest.mark.parametrize("hours", [-30, 30])
async def test_a_clock_that_jumps_moves_nobody(hours: int, caplog: pytest.LogCaptureFixture) -> None:
    """The wall clock is set by more than a day while a pod waits: the service neither climbs early nor late; a metric and a log line name the jump."""
    scene = await waiting(100)
    caplog.set_level(logging.WARNING)
    scene.ahead = dt.timedelta(hours=hours)
    await scene.wait(100)
    assert scene.status["sliceClass"] == "test-cpu/cpu:1"
    await scene.wait(160)
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"
    assert scene.metrics.registry.get_sample_value("stowplan_operator_clock_jumps_total") == 1
    assert sum("wall clock jumped" in record.message for record in caplog.records) == 1


async def test_dates_of_a_clock_that_was_wrong_do_not_block_for_ever() -> None:
    """A former process wrote dates that lie years ahead: they count as now, and a block longer than there is any counts as none."""
    scene = Scene()
    await scene.look()
    ahead = "2031-01-01T00:00:00Z"
    scene.status["rung"] = {"since": ahead, "waitingSince": ahead, "blocked": [{"sliceClass": "test-cpu/cpu:2", "until": ahead}]}
    scene.world.put_pods(scene.name, 1, unschedulable_since="2026-11-22T08:00:00Z")
    scene.restart()
    await scene.look()
    await scene.wait(360)
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"


@pytest.mark.parametrize("written", ["nonsense", {"since": "never", "blocked": "all"}, {"blocked": [{"until": 5}, "x", {"sliceClass": "?", "until": "?"}]}])
async def test_nonsense_in_the_status_counts_as_nothing(written: object) -> None:
    """Whatever somebody else wrote into status.rung, the service is looked after."""
    scene = Scene()
    await scene.look()
    scene.status["rung"] = written
    scene.restart()
    await scene.wait(5)
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_when_all_above_is_full_a_rung_below_is_tried_again() -> None:
    """With every rung left once, a pod at the top says NoSpareSlice; as soon as the first rung may be tried again, it is."""
    scene = await waiting(360, placement={"sliceClasses": ["test-cpu/cpu:1", "test-cpu/cpu:2"]})
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"
    scene.world.put_pods(scene.name, 1, unschedulable_since="2026-11-22T08:06:00Z")
    await scene.wait(1)
    assert scene.conditions()["Scheduled"] == ("False", "NoSpareSlice")
    await scene.wait(1798)
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"
    await scene.wait(2)
    assert scene.status["sliceClass"] == "test-cpu/cpu:1"
    assert scene.status["rung"]["blocked"][0]["sliceClass"] == "test-cpu/cpu:2"

"""Pods without a place: when a service moves to another rung, and what it says where none is left."""

import datetime as dt

import msgspec
from support.operator_scenes import Scene


async def test_pods_without_a_place_make_it_climb_and_not_come_back_soon() -> None:
    """After six minutes without a place the next rung is taken; the one left is not tried again for half an hour."""
    scene = Scene()
    await scene.look()
    scene.world.put_pods(scene.name, 1, unschedulable_since="2026-11-22T08:00:00Z")
    await scene.look()
    scene.now += dt.timedelta(seconds=340)
    assert await scene.look() == 20
    assert scene.world.condition(scene.name, "Scheduled")["message"] == "0 of 1 replicas have a node; the scheduler says: 0/1 nodes"
    scene.now += dt.timedelta(seconds=20)
    await scene.look()
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"
    scene.world.put_pods(scene.name, 1)
    scene.now += dt.timedelta(seconds=1790)
    await scene.look()
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"
    scene.now += dt.timedelta(seconds=20)
    await scene.look()
    assert scene.status["sliceClass"] == "test-cpu/cpu:1"


async def test_time_in_which_nobody_judged_the_nodes_does_not_count() -> None:
    """Patience counts from the moment a pod is seen Unschedulable, not from SchedulerError before it, whose message stands in the condition meanwhile."""
    scene = Scene()
    await scene.look()
    scene.world.put_pods(scene.name, 1, unschedulable_since="2026-11-22T08:00:00Z")
    judged = scene.world.pod_list[0]
    waiting = msgspec.structs.replace(judged.status.conditions[0], reason="SchedulerError", message="the extender does not answer")
    scene.world.pod_list = [msgspec.structs.replace(judged, status=msgspec.structs.replace(judged.status, conditions=[waiting]))]
    scene.now += dt.timedelta(seconds=600)
    assert await scene.look() == 30
    message = scene.world.condition(scene.name, "Scheduled")["message"]
    assert message == "0 of 1 replicas have a node; the scheduler says: the extender does not answer"
    scene.world.pod_list = [judged]
    await scene.look()
    scene.now += dt.timedelta(seconds=359)
    assert await scene.look() == 1
    assert scene.status["sliceClass"] == "test-cpu/cpu:1"
    scene.now += dt.timedelta(seconds=1)
    await scene.look()
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"


async def test_at_the_top_of_the_ladder_it_says_no_spare_slice() -> None:
    """With nowhere to climb to, Scheduled says NoSpareSlice and the Deployment stays."""
    scene = Scene(placement={"sliceClasses": ["test-cpu/cpu:2"]})
    await scene.look()
    scene.world.put_pods(scene.name, 1, unschedulable_since="2026-11-22T08:00:00Z")
    await scene.look()
    scene.now += dt.timedelta(seconds=361)
    await scene.look()
    assert scene.conditions()["Scheduled"] == ("False", "NoSpareSlice")
    assert scene.container()["resources"]["limits"]["cpu"] == "2"

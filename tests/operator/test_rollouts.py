"""How changes reach the pods: never fewer that serve, a word where there is no room, and no fight with whoever else writes."""

import dataclasses
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_operator.workloads.deployments import DeploymentState
from stowplan_operator.workloads.rollouts import Rollout, replicas_for, rollout_of
from support.fake_operator_worlds import Object
from support.operator_scenes import Scene

SETTLED = DeploymentState("u", "o", 3, 3, replicas=4, total=4, updated=4, available=4, template_digest="old", foreign_manager="")


def state(**changes: int | str) -> DeploymentState:
    return dataclasses.replace(SETTLED, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "digest", "wanted", "asked"),
    [
        (None, "new", 2, 2),
        (SETTLED, "old", 1, 1),  # fewer of the same
        (SETTLED, "old", 6, 6),
        (SETTLED, "new", 1, 4),  # the change begins: none of the new ones serves
        (state(template_digest="new", generation=4), "new", 1, 4),  # the controller has not looked yet
        (state(template_digest="new", total=5, updated=1, available=4), "new", 1, 4),  # the first new one does not serve yet
        (state(template_digest="new", total=5, updated=1, available=5), "new", 1, 1),  # it does: the former ones may go
        (state(template_digest="new", total=5, updated=1, available=5), "new", 2, 4),
        (state(template_digest="new", total=4, updated=0, available=0), "new", 1, 1),  # nothing serves, nothing to keep
        (state(available=2), "new", 1, 2),
        (state(replicas=1, total=1, updated=1, available=1), "new", 4, 4),  # more of another kind: maxUnavailable keeps the one
    ],
)
def test_former_pods_are_kept_until_enough_new_ones_serve(seen: DeploymentState | None, digest: str, wanted: int, asked: int) -> None:
    """The count to ask for at each step of a change."""
    assert replicas_for(seen, digest, wanted) == asked


COUNTS = st.integers(0, 9)
DEPLOYMENTS = st.builds(
    lambda replicas, new, former, available, seen, digest: state(
        replicas=replicas, total=new + former, updated=new, available=min(available, new + former), generation=3 if seen else 4, template_digest=digest
    ),
    st.integers(1, 9),
    COUNTS,
    COUNTS,
    COUNTS,
    st.booleans(),
    st.sampled_from(["old", "new"]),
)


@given(DEPLOYMENTS, st.integers(1, 9))
def test_asking_never_takes_serving_pods_away_too_early(now: DeploymentState, wanted: int) -> None:
    """Whatever a Deployment looks like: at least the rung's count is asked for; fewer than serve now only where the new ones alone are enough."""
    asked = replicas_for(now, "new", wanted)
    assert asked >= wanted
    if asked < min(now.available, now.replicas):
        former = now.total - now.updated
        assert (now.template_digest, now.observed_generation) == ("new", now.generation)
        assert former == 0 or now.available - former >= wanted


def test_a_rollout_is_what_is_under_way() -> None:
    """Pods of two templates are a rollout; a Deployment that its controller has not looked at yet says nothing."""
    assert rollout_of(SETTLED) is None
    assert rollout_of(state(total=5, updated=1)) == Rollout(new=1, former=4)
    assert rollout_of(state(total=5, updated=1, generation=9)) is None


def said_by_the_controller(scene: Scene, **status: int) -> None:
    """The Deployment's status as its controller would write it."""
    stored = scene.world.stored[scene.name]
    stored["status"] = {"observedGeneration": stored["metadata"]["generation"], **status}


async def test_a_change_that_finds_no_slice_says_so_at_once_and_the_former_pods_serve_on() -> None:
    """On a full cluster a new image waits: Scheduled says NoSpareSlice with the scheduler's words, Ready stays true, the Deployment keeps its replicas."""
    scene = Scene()
    await scene.look()
    scene.world.put_pods(scene.name, 1)
    said_by_the_controller(scene, replicas=1, updatedReplicas=1, availableReplicas=1)
    await scene.look()
    assert scene.conditions()["Scheduled"] == ("True", "AllReplicasBound")
    former = scene.world.pod_list
    template: Object = {"spec": {"containers": [{"name": "server", "image": "localhost/server:2"}]}}
    scene.world.put_service(template=template)
    await scene.look()
    scene.world.put_pods(scene.name, 1, unschedulable_since="2026-11-22T08:00:00Z")
    scene.world.pod_list += former
    said_by_the_controller(scene, replicas=2, updatedReplicas=1, availableReplicas=1)
    await scene.wait(1)
    assert scene.conditions()["Scheduled"] == ("False", "NoSpareSlice")
    message = scene.world.condition(scene.name, "Scheduled")["message"]
    assert message == "a change waits for a slice: 1 of 1 replicas have the new template, 1 of the former one serve on; the scheduler says: 0/1 nodes"
    assert scene.conditions()["Ready"] == ("True", "AllReplicasReady")


async def test_a_move_to_fewer_larger_servers_keeps_the_former_count_until_the_new_one_serves() -> None:
    """From two servers on one core each to one on two cores: two are asked for until the new one serves, one afterwards."""
    scene = Scene(load={"requestsPerSecond": 90}, placement={"sliceClasses": ["test-cpu/cpu:1"]})
    await scene.look()
    assert scene.world.stored[scene.name]["spec"]["replicas"] == 2
    said_by_the_controller(scene, replicas=2, updatedReplicas=2, availableReplicas=2)
    scene.world.put_service(load={"requestsPerSecond": 90}, placement={"sliceClasses": ["test-cpu/cpu:2"]})
    await scene.look()
    assert (scene.status["replicas"], scene.container()["resources"]["limits"]["cpu"]) == (1, "2")
    assert scene.world.stored[scene.name]["spec"]["replicas"] == 2
    said_by_the_controller(scene, replicas=3, updatedReplicas=1, availableReplicas=2)
    await scene.look()
    assert scene.world.stored[scene.name]["spec"]["replicas"] == 2
    said_by_the_controller(scene, replicas=3, updatedReplicas=1, availableReplicas=3)
    await scene.look()
    assert scene.world.stored[scene.name]["spec"]["replicas"] == 1


async def test_somebody_who_will_not_stop_is_named_and_not_fought(caplog: pytest.LogCaptureFixture) -> None:
    """Three changes within ten minutes are put right, with a log line and a count; the fourth is reported by the writer's name and left, for ten minutes."""
    scene = Scene()
    await scene.look()
    caplog.set_level(logging.WARNING)

    def edit() -> None:
        stored = scene.world.stored[scene.name]
        stored["spec"]["replicas"] = 9
        stored["metadata"]["generation"] += 1
        stored["metadata"]["managedFields"] = [{"manager": "hpa", "time": "2026-11-22T08:00:00Z", "fieldsV1": {"f:spec": {}}}]

    for _ in range(3):
        edit()
        await scene.wait(10)
        assert scene.world.stored[scene.name]["spec"]["replicas"] == 1
    edit()
    await scene.wait(10)
    assert scene.world.stored[scene.name]["spec"]["replicas"] == 9
    assert (scene.conditions()["Ready"], scene.conditions()["Scheduled"]) == (("False", "ForeignEdits"), ("False", "WaitingForPlacement"))
    assert "hpa changed it 4 times within 10 minutes" in scene.world.condition(scene.name, "Ready")["message"]
    assert scene.metrics.registry.get_sample_value("stowplan_operator_reverts_total") == 3
    assert [record.manager for record in caplog.records if "somebody else" in record.message] == ["hpa"] * 3  # type: ignore[attr-defined]
    await scene.wait(600)
    assert scene.world.stored[scene.name]["spec"]["replicas"] == 1
    assert scene.conditions()["Ready"] == ("False", "ReplicasNotReady")

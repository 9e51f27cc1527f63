"""One look at a service: what is chosen, made and kept, and that a second look changes nothing."""

import dataclasses
import datetime as dt
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import DeviceName
from stowplan_operator.reconciling.reconcilers import FOREVER
from stowplan_operator.reconciling.statuses import merge_patch
from stowplan_operator.reconciling.views import ConfigMapState, KopfViews
from support.fake_operator_worlds import NAMESPACE, _merged
from support.operator_scenes import Scene


async def test_the_cheapest_rung_is_chosen_and_its_workload_made() -> None:
    """A new service gets model, ladder and the cheapest slice class into its status, and a Deployment on it that is its own."""
    scene = Scene()
    assert await scene.look() == 30
    assert scene.status["sliceClass"] == "test-cpu/cpu:1"
    assert (scene.status["replicas"], scene.status["predictedMilliseconds"]) == (1, 25.0)
    assert [(rung["sliceClass"], rung["meetsSLO"]) for rung in scene.status["ladder"]] == [(f"test-cpu/cpu:{cores}", True) for cores in (1, 2, 3, 4)]
    assert scene.conditions() == {
        "ModelAnalyzed": ("True", "Analyzed"),
        "Placeable": ("True", "RungChosen"),
        "Scheduled": ("False", "WaitingForPlacement"),
        "Ready": ("False", "ReplicasNotReady"),
        "SLOMet": ("Unknown", "NotObserved"),
        "PredictionAccurate": ("Unknown", "NotObserved"),
    }
    deployment = scene.world.stored[scene.name]
    assert deployment["metadata"]["ownerReferences"][0]["uid"] == "uid-of-net"
    template = deployment["spec"]["template"]
    assert template["metadata"]["annotations"] == {keys.SLICE_CLASS_ANNOTATION: "test-cpu/cpu:1"}
    assert template["spec"]["schedulerName"] == "stowplan"
    assert "preemptionPolicy" not in template["spec"]  # the API server would refuse the pods
    ours = {"cpu": "1", keys.MARKER_RESOURCE: keys.MARKER_AMOUNT}
    assert scene.container()["resources"] == {"limits": {"memory": "1Gi", **ours}, "requests": ours}
    assert scene.container()["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.annotations['stowplan.dev/slice']"


async def test_a_second_look_writes_nothing() -> None:
    """Where nothing changed nothing is written: no status, no Deployment, no event."""
    scene = Scene()
    await scene.look()
    scene.world.writes.clear()
    scene.now += dt.timedelta(minutes=3)
    await scene.look()
    assert scene.world.writes == []
    assert scene.predictor.analyses == 1


async def test_pods_that_serve_make_it_ready_once() -> None:
    """Ready becomes true with the pods, is dated then, and one event tells it."""
    scene = Scene()
    await scene.look()
    scene.world.put_pods(scene.name, 1)
    scene.now += dt.timedelta(seconds=5)
    for _ in range(3):
        await scene.look()
    ready = scene.world.condition(scene.name, "Ready")
    expected = {"status": "True", "reason": "AllReplicasReady", "lastTransitionTime": "2026-11-22T08:00:05Z", "observedGeneration": 1}
    assert {key: ready[key] for key in expected} == expected
    assert [event["reason"] for event in scene.world.events].count("AllReplicasReady") == 1


async def test_load_is_spread_over_as_few_replicas_as_do() -> None:
    """A load that one server cannot sustain on one core gets more replicas or more cores, whatever is cheaper; here two of one core, not one of three."""
    scene = Scene(load={"requestsPerSecond": 90}, replicas={"min": 1, "max": 4})
    await scene.look()
    rungs = {rung["sliceClass"]: rung["replicas"] for rung in scene.status["ladder"]}
    assert rungs == {"test-cpu/cpu:1": 2, "test-cpu/cpu:2": 1, "test-cpu/cpu:3": 1, "test-cpu/cpu:4": 1}
    assert (scene.status["sliceClass"], scene.status["replicas"]) == ("test-cpu/cpu:2", 1)


async def test_an_impossible_objective_makes_no_workload_and_says_why() -> None:
    """Where no rung would do there is no Deployment; Placeable names the nearest miss of each device."""
    scene = Scene(slo={"latencyMilliseconds": 1})
    await scene.look()
    placeable = scene.world.condition(scene.name, "Placeable")
    assert (placeable["status"], placeable["reason"]) == ("False", "NoRungMeetsSLO")
    assert placeable["message"] == "test-cpu: test-cpu/cpu:4 is too slow even alone: p95 up to 6.25 ms, objective 1 ms (4 replicas)"
    assert scene.conditions()["Ready"] == ("False", "NoRungMeetsSLO")
    assert scene.world.stored == {}


async def test_a_tightened_objective_does_not_stop_what_serves() -> None:
    """When no rung would do any more, the Deployment stays as it is and the conditions say so."""
    scene = Scene()
    await scene.look()
    before = scene.world.stored[scene.name]
    scene.world.put_service(slo={"latencyMilliseconds": 1})
    await scene.look()
    assert scene.world.stored[scene.name] == before
    assert scene.conditions()["Placeable"] == ("False", "NoRungMeetsSLO")


async def test_nodes_that_refuse_the_pods_offer_no_rung() -> None:
    """Cordoned nodes and taints that the template does not tolerate give no slice; a toleration brings them back."""
    scene = Scene()
    taint = {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}
    scene.world.node_list.clear()
    scene.world.put_node("cordoned", unschedulable=True)
    scene.world.put_node("tainted", taints=[taint])
    await scene.look()
    assert scene.conditions()["Placeable"] == ("False", "NoSliceOffered")
    template = {"spec": {"containers": [{"name": "server", "image": "i"}], "tolerations": [{"key": "dedicated", "operator": "Exists"}]}}
    scene.world.put_service(template=template)
    await scene.look()
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_a_deployment_of_somebody_else_is_not_touched() -> None:
    """A Deployment of the same name that is not the service's own stays as it is, and Ready says so."""
    scene = Scene()
    foreign = {"metadata": {"name": "net", "namespace": NAMESPACE, "uid": "foreign", "generation": 1}, "spec": {"replicas": 7}}
    scene.world.stored[scene.name] = foreign
    await scene.look()
    assert scene.world.stored[scene.name] is foreign
    assert scene.conditions()["Ready"] == ("False", "NameTaken")


async def test_what_somebody_changed_by_hand_is_put_right() -> None:
    """A Deployment that was edited is applied again."""
    scene = Scene()
    await scene.look()
    stored = scene.world.stored[scene.name]
    stored["spec"]["replicas"], stored["metadata"]["generation"] = 9, stored["metadata"]["generation"] + 1
    await scene.look()
    assert scene.world.stored[scene.name]["spec"]["replicas"] == 1


async def test_a_deleted_service_is_left_alone() -> None:
    """A service that is gone, or going, is not written to."""
    scene = Scene()
    scene.world.objects[scene.name]["metadata"]["deletionTimestamp"] = "2026-11-22T08:00:00Z"
    assert await scene.look() == FOREVER
    del scene.world.objects[scene.name]
    assert await scene.look() == FOREVER
    assert scene.world.writes == []


def test_of_two_descriptors_of_a_device_the_first_by_namespace_and_name_counts() -> None:
    """Whatever order ConfigMaps are seen in, the first by (namespace, name) describes the device, and the other one is told as a problem."""
    device = CpuDevice(DeviceName("d"), "made up", (), 8, 1 << 15, 1 << 20, 1 << 25, (CoreThroughput(1, 1e10, 1e10),), {}, fabricated=True)
    texts = {cores: descriptors.write_device(dataclasses.replace(device, cores=cores)).decode() for cores in (4, 8)}
    states = {"a-b/x": texts[8], "a/z": texts[4]}  # as bare strings, "a-b/x" would come first
    indices = {"descriptors": {name: [ConfigMapState(name, "u", "1", {"d.json": text})] for name, text in states.items()}}
    devices, problems = KopfViews(cast("Any", indices)).devices()
    assert devices[DeviceName("d")].cores == 4
    assert len(problems) == 1
    assert problems[0].startswith("ConfigMap a-b/x, key d.json: ")


LEAVES = st.one_of(st.integers(), st.text(max_size=3))
JSON = st.recursive(LEAVES, lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3), max_leaves=8)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


@settings(max_examples=200)
@given(OBJECTS, OBJECTS)
def test_a_merge_patch_leads_from_one_status_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Applied by RFC 7396 the patch gives the wanted object; between equal objects it is empty."""
    patch = merge_patch(before, after)
    assert _merged(before, patch) == after
    assert (patch == {}) == (before == after)

"""One look at a service, and again after every kind of interruption."""

import dataclasses
import datetime as dt
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import DeviceName
from stowplan_operator.reconciling.reconcilers import FOREVER
from stowplan_operator.reconciling.statuses import merge_patch
from stowplan_operator.reconciling.views import ConfigMapState, KopfViews
from support.fake_operator_worlds import NAMESPACE, Crash, _merged
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
    ours = {"cpu": "1", keys.MARKER_RESOURCE: "1"}
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


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"model": {"uri": "https://example.org/m.onnx"}}, "SourceNotAllowed"),
        ({"model": {"uri": "configmap://elsewhere/model.onnx"}}, "ModelNotFound"),
        ({"model": {"uri": "configmap://net-graph/model.onnx", "digest": "sha256:" + "0" * 64}}, "DigestMismatch"),
        ({"model": {"uri": "configmap://broken/model.onnx"}}, "ModelRefused"),
    ],
)
async def test_a_broken_model_is_its_own_affair(spec: dict[str, Any], reason: str) -> None:
    """What is wrong with a model stands in its own conditions; another service beside it is looked after as ever."""
    scene = Scene()
    scene.world.put_model(b"\xff\x00 garbage", name="broken")
    bad = scene.world.put_service("bad", **spec)
    assert await scene.reconciler.reconcile(bad) == 30
    await scene.look()
    assert scene.world.condition(bad, "ModelAnalyzed")["reason"] == reason
    assert scene.world.condition(bad, "Ready")["reason"] == reason
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_a_mended_model_is_analysed_again() -> None:
    """When the ConfigMap changes, the new file counts."""
    scene = Scene()
    await scene.look()
    scene.world.put_model(b"work=60", version="2")
    await scene.look()
    assert scene.predictor.analyses == 2
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"


async def test_a_predictor_that_is_down_leaves_everything_standing() -> None:
    """Without a predictor the conditions become Unknown, the look is repeated with back-off, and what runs keeps running."""
    scene = Scene()
    await scene.look()
    before = dict(scene.status), scene.world.stored[scene.name]
    scene.predictor.up = False
    scene.restart()
    assert await scene.look() is None
    assert scene.conditions()["ModelAnalyzed"] == ("Unknown", "PredictorUnavailable")
    assert scene.conditions()["Placeable"] == ("Unknown", "PredictorUnavailable")
    assert {key: scene.status[key] for key in ("ladder", "sliceClass", "model", "replicas")} == {
        key: before[0][key] for key in ("ladder", "sliceClass", "model", "replicas")
    }
    assert scene.world.stored[scene.name] == before[1]
    scene.predictor.up = True
    assert await scene.look() == 30
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_a_restarted_predictor_gets_its_graph_back() -> None:
    """A predictor that forgot a graph is given the model again, within the same look."""
    scene = Scene()
    await scene.look()
    scene.predictor.work.clear()
    assert await scene.look() == 30
    assert scene.predictor.analyses == 2
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_another_predictor_that_was_restarted_gets_its_graph_too() -> None:
    """The predictor that is asked knows the graph, another one behind the same name does not: the model is pushed to all of them within the same look."""
    scene = Scene()
    await scene.look()
    scene.predictor.another_forgot = True
    assert await scene.look() == 30
    assert scene.predictor.analyses == 2
    assert await scene.look() == 30
    assert scene.predictor.analyses == 2


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


@pytest.mark.parametrize("crash_after", range(1, 12))
async def test_a_crash_after_any_write_converges(crash_after: int) -> None:
    """Killed after the so-many-th write and started again, the operator arrives at the very state that an undisturbed one reaches."""
    calm = Scene()
    await calm.look()
    scene = Scene()
    scene.world.crash_after = crash_after
    try:
        await scene.look()
    except Crash:
        scene.restart()
        await scene.look()
    assert scene.status == calm.status
    assert scene.world.stored[scene.name]["spec"] == calm.world.stored[calm.name]["spec"]
    assert scene.world.stored[scene.name]["metadata"]["generation"] == 1


async def test_a_slow_watch_repeats_no_event() -> None:
    """While the watch still shows the service without our status, nothing is written or told a second time."""
    scene = Scene()
    scene.world.lagging = {scene.name: dict(scene.world.objects[scene.name])}
    await scene.look()
    before = len(scene.world.events), list(scene.world.writes)
    await scene.look()
    assert (len(scene.world.events), scene.world.writes) == before


async def test_a_deleted_service_is_left_alone() -> None:
    """A service that is gone, or going, is not written to."""
    scene = Scene()
    scene.world.objects[scene.name]["metadata"]["deletionTimestamp"] = "2026-11-22T08:00:00Z"
    assert await scene.look() == FOREVER
    del scene.world.objects[scene.name]
    assert await scene.look() == FOREVER
    assert scene.world.writes == []


async def test_a_spec_that_slipped_past_the_schema_is_refused_by_name() -> None:
    """A value that the schema would not have let through becomes a condition, not a crash."""
    scene = Scene(slo={"latencyMilliseconds": -5})
    assert await scene.look() == FOREVER
    ready = scene.world.condition(scene.name, "Ready")
    assert (ready["reason"], "spec.slo.latencyMilliseconds" in ready["message"]) == ("SpecRefused", True)


@pytest.mark.parametrize(
    ("container", "spec", "path"),
    [
        ({"env": {"FOO": "bar"}}, {}, "spec.template.spec.containers[0].env"),
        ({"env": ["FOO=bar"]}, {}, "spec.template.spec.containers[0].env[0]"),
        ({"env": [{"name": 7}]}, {}, "spec.template.spec.containers[0].env[0].name"),
        ({"resources": {"limits": ["cpu"]}}, {}, "spec.template.spec.containers[0].resources.limits"),
        ({}, {"nodeSelector": "zone-a"}, "spec.template.spec.nodeSelector"),
        ({}, {"nodeSelector": {"zone": True}}, "spec.template.spec.nodeSelector['zone']"),
        ({}, {"tolerations": 5}, "spec.template.spec.tolerations"),
        ({}, {"tolerations": ["all"]}, "spec.template.spec.tolerations[0]"),
        ({}, {"tolerations": [{"effect": ["NoSchedule"]}]}, "spec.template.spec.tolerations[0].effect"),
        ({}, {"containers": []}, "spec.template.spec.containers"),
    ],
)
async def test_a_template_of_another_shape_is_refused_by_its_path(container: dict[str, Any], spec: dict[str, Any], path: str) -> None:
    """Each template field that we use and that the schema leaves open is checked: SpecRefused names its path, and nothing is tried for ever."""
    scene = Scene(template={"spec": {"containers": [{"name": "server", "image": "i", **container}], **spec}})
    assert await scene.look() == FOREVER
    ready = scene.world.condition(scene.name, "Ready")
    assert (ready["status"], ready["reason"], ready["message"].partition(": ")[0]) == ("False", "SpecRefused", path)


async def test_null_in_a_template_counts_as_unset() -> None:
    """As for the API server, a field that is null is one that is not there."""
    container = {"name": "server", "image": "i", "env": None, "resources": None}
    toleration = {"key": None, "operator": None, "effect": None}
    scene = Scene(template={"metadata": None, "spec": {"containers": [container], "nodeSelector": None, "tolerations": [toleration]}})
    assert await scene.look() == 30
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_an_unexpected_failure_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody thought of is logged with its traceback, becomes Ready=Unknown with a fixed reason, and is retried; a mended service recovers."""
    scene = Scene()
    nodes = scene.world.nodes
    count = iter(range(9))

    def broken() -> list[Any]:
        raise RuntimeError(f"failure number {next(count)}")

    monkeypatch.setattr(scene.world, "nodes", broken)
    assert await scene.look() is None
    assert scene.conditions() == {"Ready": ("Unknown", "InternalError")}
    assert "failure number" not in scene.world.condition(scene.name, "Ready")["message"]
    assert caplog.records[-1].exc_info is not None
    scene.world.writes.clear()
    assert await scene.look() is None
    assert scene.world.writes == []
    monkeypatch.setattr(scene.world, "nodes", nodes)
    assert await scene.look() == 30
    assert scene.conditions()["Ready"] == ("False", "ReplicasNotReady")


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

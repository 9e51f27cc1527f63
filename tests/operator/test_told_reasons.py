"""What a service's author is told: why there is no rung, no Deployment, no pod, no answer; each once, and in words that say what to do."""

import msgspec
import pytest
from stowplan_fleet import reasons, slices
from stowplan_fleet.answers import Basis
from stowplan_fleet.manifests.decoding import from_plain
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_operator.conditions.offers import Offer, why_no_rung
from stowplan_operator.errors import ApiFailed
from stowplan_operator.reconciling import statuses
from stowplan_operator.sizing import climbs
from stowplan_operator.sizing.candidates import Candidate
from stowplan_operator.sizing.prices import Prices
from stowplan_operator.sizing.rungs import Rung
from stowplan_operator.workloads.deployments import RESTARTED_AT_ANNOTATION
from support.operator_scenes import Scene

ONE, EIGHT = slices.parse_slice_class("epyc/cpu:1"), slices.parse_slice_class("epyc/cpu:8")


async def test_over_many_looks_each_transition_has_one_event() -> None:
    """A life of 120 looks, with pods that come, fail and come back, and a scheduler whose words change each time: eight transitions, eight events."""
    scene = Scene()
    await scene.look()
    for number in range(40):
        scene.world.put_pods(scene.name, 1, unschedulable_since="2026-11-22T08:00:00Z")
        conditions = scene.world.pod_list[0].status.conditions
        conditions[0] = msgspec.structs.replace(conditions[0], message=f"0/{number} nodes are available")
        await scene.wait(1)
    for ready in (True, False, True):
        scene.world.put_pods(scene.name, 1, ready=ready)
        for _ in range(20):
            await scene.wait(1)
    scene.restart()
    for _ in range(20):
        await scene.wait(1)
    told = [(event["reason"], event["message"].partition(":")[0], event["type"]) for event in scene.world.events]
    assert told == [
        ("Analyzed", "ModelAnalyzed=True", "Normal"),
        ("RungChosen", "Placeable=True", "Normal"),
        ("WaitingForPlacement", "Scheduled=False", "Warning"),
        ("ReplicasNotReady", "Ready=False", "Warning"),
        ("AllReplicasBound", "Scheduled=True", "Normal"),
        ("AllReplicasReady", "Ready=True", "Normal"),
        ("ReplicasNotReady", "Ready=False", "Warning"),
        ("AllReplicasReady", "Ready=True", "Normal"),
    ]


async def test_an_event_that_could_not_be_written_is_written_later_once() -> None:
    """The API server fails on events: conditions are written all the same, and each event follows when it takes them again, none twice."""
    scene = Scene()
    scene.world.refusing_events = ApiFailed("POST events: 503: away", 503)
    assert await scene.look() is None
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")
    assert await scene.look() is None
    scene.world.refusing_events = None
    await scene.look()
    await scene.look()
    assert [event["reason"] for event in scene.world.events] == ["Analyzed", "RungChosen", "WaitingForPlacement", "ReplicasNotReady"]


@pytest.mark.parametrize("status", [403, 409])
async def test_events_that_are_refused_for_good_hold_nothing_up(status: int) -> None:
    """A namespace that ends takes no events, and one that was taken before exists: the look is done, and nothing is tried for ever."""
    scene = Scene()
    scene.world.refusing_events = ApiFailed("no", status)
    assert await scene.look() == 30
    scene.world.writes.clear()
    assert await scene.look() == 30
    assert scene.world.writes == []


TYPO = 'failed to create typed patch object (vision/net; apps/v1, Kind=Deployment): .spec.template.spec.containers[name="server"].imagee: field not declared'


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (500, TYPO, "SpecRefused"),
        (422, "spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 99999", "SpecRefused"),
        (403, "exceeded quota: count/deployments.apps", "SpecRefused"),
        (500, 'Internal error occurred: failed calling webhook "policy.example.com"', "DeploymentNotMade"),
    ],
)
async def test_a_deployment_that_is_not_taken_is_told_in_the_api_servers_words(status: int, said: str, reason: str) -> None:
    """Ready repeats them without the request around them; Scheduled says that there are no pods; it is tried again, and a mended one recovers."""
    scene = Scene()
    scene.world.refusing = ApiFailed(f"PATCH /apis/apps/v1/...: {status}: {said}", status, said)
    assert await scene.look() is None
    assert (scene.conditions()["Ready"], scene.conditions()["Scheduled"]) == (("False", reason), ("Unknown", reason))
    assert scene.world.condition(scene.name, "Ready")["message"] == f"the API server does not take the Deployment made from spec.template: {said}"
    assert scene.world.condition(scene.name, "Scheduled")["message"] == "the Deployment was not made, so there are no pods"
    scene.world.refusing = None
    assert await scene.look() == 30
    assert scene.conditions()["Ready"] == ("False", "ReplicasNotReady")


async def test_pods_that_cannot_be_made_are_told_with_the_reason() -> None:
    """Nobody schedules what the API server does not take: Scheduled says PodsRefused and why; so it does of a change, while the former pods serve."""
    scene = Scene()
    await scene.look()
    why = 'pods "net-5b4-" is forbidden: error looking up service account vision/nobody: serviceaccount "nobody" not found'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": why}
    scene.world.stored[scene.name]["status"] = {"observedGeneration": 1, "conditions": [failure]}
    await scene.look()
    assert scene.conditions()["Scheduled"] == ("False", "PodsRefused")
    assert scene.world.condition(scene.name, "Scheduled")["message"] == f"0 of 1 replicas have a node; further pods cannot be made: {why}"
    scene.world.put_pods(scene.name, 1)
    scene.world.stored[scene.name]["status"] |= {"replicas": 1, "updatedReplicas": 0, "availableReplicas": 1}
    await scene.look()
    assert (scene.conditions()["Scheduled"], scene.conditions()["Ready"][0]) == (("False", "PodsRefused"), "True")
    scene.world.stored[scene.name]["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    await scene.look()
    assert scene.conditions()["Scheduled"] == ("True", "AllReplicasBound")


async def test_a_pod_that_does_not_serve_is_named_with_what_it_says() -> None:
    """Ready repeats what the kubelet says of the first pod that has a node and does not answer."""
    scene = Scene()
    await scene.look()
    scene.world.put_pods(scene.name, 1, ready=False)
    plain = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "containers with unready status: [server]"}
    (pod,) = scene.world.pod_list
    metadata = {"name": "net-1", "namespace": "vision", "uid": "u", "labels": pod.metadata.labels, "annotations": pod.metadata.annotations}
    scene.world.pod_list = [from_plain({"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"conditions": [plain]}}, PodManifest)]
    await scene.look()
    assert scene.world.condition(scene.name, "Ready")["message"] == "0 of 1 replicas serve; pod net-1: containers with unready status: [server]"


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        (Offer("onnxruntime-cpu", 0), "no node may take its pods: each is cordoned, not ready, tainted, or not selected by spec.template.spec.nodeSelector"),
        (
            Offer("onnxruntime-cpu", 2, wanted=(EIGHT,), found=(ONE,)),
            "spec.placement.sliceClasses names epyc/cpu:8, which none of them offers; the 2 nodes that may take its pods offer epyc/cpu:1",
        ),
        (
            Offer("onnxruntime-cpu", 1, wanted=(EIGHT,), problems=("node a: odd label",)),
            "the one node that may take its pods offers no CPU slice: nothing is known of their CPUs; run stowplan device there and label them "
            "stowplan.dev/device=NAME; node a: odd label",
        ),
        (
            Offer("tensorrt", 3),
            "the 3 nodes that may take its pods offer no GPU slice, which runtime tensorrt takes; nodes tell their GPUs by the labels of NVIDIA's GPU "
            "feature discovery, and onnxruntime-cpu is a runtime of CPUs",
        ),
    ],
)
def test_why_there_is_no_rung_is_told_with_what_there_is(offer: Offer, said: str) -> None:
    """A selector that fits nobody, a pinned class that nobody has, CPUs that nobody described, a runtime of GPUs without GPUs: each reads differently."""
    assert why_no_rung(offer) == said


async def test_a_pinned_class_that_nobody_has_is_named() -> None:
    """The condition names what was pinned and what the nodes have."""
    scene = Scene(placement={"sliceClasses": ["test-cpu/cpu:100"]})
    await scene.look()
    placeable = scene.world.condition(scene.name, "Placeable")
    assert placeable["reason"] == "NoSliceOffered"
    assert (
        "names test-cpu/cpu:100, which none of them offers; the one node that may take its pods offers test-cpu/cpu:1, test-cpu/cpu:2" in placeable["message"]
    )


async def test_a_load_that_nothing_sustains_is_told_as_such() -> None:
    """The largest slice that was judged is named, not one of which nothing is known; and one replica is no replicas."""
    scene = Scene(load={"requestsPerSecond": 100_000}, replicas={"min": 1, "max": 1})
    scene.world.put_node("strange", cpu="8", device="unheard-of")
    await scene.look()
    message = scene.world.condition(scene.name, "Placeable")["message"]
    assert message.startswith("test-cpu: test-cpu/cpu:4 cannot sustain the request rate (1 replica); unheard-of: cannot be judged (DeviceNotDescribed)")


async def test_conditions_are_read_from_the_top() -> None:
    """Ready comes first, and what nobody observes yet last."""
    scene = Scene()
    await scene.look()
    order = ["Ready", "ModelAnalyzed", "Placeable", "Scheduled", "SLOMet", "PredictionAccurate"]
    assert [condition["type"] for condition in scene.status["conditions"]] == order
    assert {condition["observedGeneration"] for condition in scene.status["conditions"]} == {1}


def test_objectives_are_written_as_people_write_them() -> None:
    """A minute is 60000 ms, and a fraction keeps three digits."""
    assert reasons.soon_enough(95, 21.555, 60_000) == "p95 up to 21.6 ms, objective 60000 ms"


def test_the_rung_that_a_service_stands_on_is_shown_however_late_it_comes() -> None:
    """Of more rungs than a status holds the first are shown, and the chosen one with them."""
    candidates = [Candidate(name, "cpu", Prices().cost_of(name)) for name in (slices.parse_slice_class(f"d{index}/cpu:1") for index in range(80))]  # type: ignore[arg-type]
    ladder = [Rung(candidate, 1, 1.0, Basis.MEASURED, meets_slo=True, allowed=True, reason="") for candidate in candidates]
    shown = statuses.ladder(ladder, climbs.skips(ladder, ladder[77], frozenset()))
    assert len(shown) == statuses.LADDER_MAX
    assert [rung["sliceClass"] for rung in shown if "skipped" not in rung] == ["d77/cpu:1"]


async def test_what_somebody_added_to_a_deployment_is_taken_away_again() -> None:
    """Applying leaves what others added; it is taken out, counted as one change, and the next look writes nothing. So is what was added while we were away."""
    scene = Scene()
    await scene.look()
    for away in (False, True):
        scene.world.additions = {"hostNetwork": True}
        stored = scene.world.stored[scene.name]
        stored["spec"]["template"]["spec"]["hostNetwork"] = True
        stored["metadata"]["generation"] += 1
        if away:
            scene.restart()
        await scene.look()
        assert "hostNetwork" not in scene.world.stored[scene.name]["spec"]["template"]["spec"]
        scene.world.writes.clear()
        await scene.look()
        assert scene.world.writes == []


@pytest.mark.parametrize("away", [False, True])
async def test_a_restart_by_kubectl_is_adopted(*, away: bool) -> None:
    """`kubectl rollout restart` writes an annotation into the Deployment's pods: it stays, is no edit that is put right, and the next look writes nothing."""
    scene = Scene()
    await scene.look()
    stored = scene.world.stored[scene.name]
    stored["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT_ANNOTATION] = "2026-11-22T08:00:00Z"
    stored["metadata"]["generation"] += 1
    if away:
        scene.restart()
    await scene.look()
    found = scene.world.stored[scene.name]
    assert found["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT_ANNOTATION] == "2026-11-22T08:00:00Z"
    assert found["metadata"]["generation"] == 2
    assert scene.metrics.registry.get_sample_value("stowplan_operator_reverts_total") == 0
    scene.world.writes.clear()
    await scene.look()
    assert scene.world.writes == []

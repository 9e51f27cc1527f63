"""The operator in trouble: killed after each of its writes, cut off, misled. What was promised stays, and everything comes back by itself."""

import itertools
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import pytest
from controlplane_errors import CommandFailed
from support import api_definitions
from support.components import SYSTEM_NAMESPACE
from support.controlplane import KUBECTL_PATIENCE, PATIENCE_S, apply, node, remove_nodes, wait_until
from support.headcounts import cores, counted
from support.operators_in_weather import SLOW, SLOW_CORE, Scene, state_of
from support.stages import inference_service
from support.troubles import QUICK_CORE, again, plain_pod

pytestmark = [pytest.mark.controlplane, pytest.mark.faults, pytest.mark.timeout(1800)]


def started_anew(scene: Scene, times: int, before_s: float) -> None:
    """Each start of the operator has its line, and the last one its time."""
    assert scene.operator.log().count('"operator starts"') == times + 1
    assert scene.operator.metric("process_start_time_seconds") > before_s


def test_killed_after_each_of_its_writes_it_arrives_where_an_undisturbed_one_does(scene: Scene) -> None:
    """For n = 1, 2, ...: killed after the n-th write for a new service, and started again, until it needs fewer than n. Nothing is made or told twice."""
    started_s, killed = scene.operator.metric("process_start_time_seconds"), 0
    scene.serve("calm")
    scene.await_ready("calm")
    calm = scene.state("calm")
    last = ("AllReplicasReady", "Ready")
    wait_until(lambda: last in scene.told("calm"), 10, "the last event of the calm service")
    for writes in itertools.count(1):
        name = f"hit-{writes}"
        hit = scene.killed_after(writes, lambda: scene.serve(name), lambda: last in scene.told(name), name)  # noqa: B023
        scene.await_ready(name)
        assert scene.state(name) == calm
        assert len(scene.told(name)) == len(set(scene.told(name)))
        assert len(scene.stage.pods(name)) == 1
        scene.remove(name)
        killed += hit
        if not hit:
            break
    assert killed >= 6
    started_anew(scene, killed, started_s)


def test_killed_after_each_write_of_a_climb_it_climbs_once_and_remembers_why(scene: Scene) -> None:
    """The first device is full: whatever write of the climb it dies after, the service ends up on the second one, and the status says why not on the first."""
    started_s, killed = scene.operator.metric("process_start_time_seconds"), 0
    scene.stage.add_nodes(node("slow", "8", SLOW))
    scene.stage.apply(plain_pod("takes-it-all", "24", nodeName="only"))
    for writes in (0, 1, 2, 3, 4):
        name = f"climber-{writes}"
        scene.serve(name, slice_classes=[QUICK_CORE, SLOW_CORE])
        wait_until(lambda: "waitingSince" in scene.stage.service(name).get("status", {}).get("rung", {}), 20, lambda: scene.stage.tell(name))  # noqa: B023
        killed += scene.killed_after(writes, lambda: None, lambda: scene.is_ready(name), name)  # noqa: B023
        (pod,) = scene.stage.await_bound(name)
        assert pod["spec"]["nodeName"] == "slow"
        ladder = {rung["sliceClass"]: rung for rung in scene.stage.service(name)["status"]["ladder"]}
        assert (ladder[QUICK_CORE]["skipped"], ladder[QUICK_CORE]["cost"], ladder[QUICK_CORE]["costBasis"]) == ("NoSpareSlice", 1, "price")
        assert "skipped" not in ladder[SLOW_CORE]
        scene.remove(name)
    assert killed >= 3
    started_anew(scene, killed, started_s)


def rolled_out(scene: Scene, image: str) -> tuple[int, Mapping[str, Any]] | None:
    """The number of the change to that image, and what there is of it; None while not all pods have it, or while the status does not say so."""
    service, deployment = scene.both("changing")
    state, status, replicas = state_of(service, deployment), deployment["status"], deployment["spec"]["replicas"]
    said = {kind: message for kind, (_, _, message) in state["conditions"].items()}
    settled = (
        state["container"]["image"] == image
        and status.get("observedGeneration") == deployment["metadata"]["generation"]
        and {status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")} == {replicas}
        and state["observed"]
        and (said.get("Ready"), said.get("Scheduled")) == (f"all {replicas} replicas serve", f"all {replicas} replicas have a node")
    )
    return (int(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"]), state) if settled else None


def test_killed_after_each_write_of_a_rollout_it_arrives_where_an_undisturbed_one_does(scene: Scene) -> None:
    """To and fro between two servers of a core each and one of two, with another image and another model: killed after the n-th write of either change, for
    n = 1, 2, ..., until both need fewer than n. Each change reaches the pods once and ends as an undisturbed one, and never do fewer cores serve than before.
    """
    started_s, killed = scene.operator.metric("process_start_time_seconds"), 0
    scene.stage.upload("resnet50")

    def change(image: str, model: str, slice_class: str, replicas: int) -> None:
        found = inference_service("changing", model, 60_000, slice_classes=[slice_class], replicas={"min": replicas, "max": replicas})
        found["spec"]["template"]["spec"]["containers"][0]["image"] = image
        scene.stage.apply(found)

    def arrived(image: str) -> tuple[int, Mapping[str, Any]]:
        return wait_until(lambda: rolled_out(scene, image), 40, lambda: scene.stage.tell("changing"))

    small, large = ("example.com/small", "squeezenet", QUICK_CORE, 2), ("example.com/large", "resnet50", "made-up-quick/cpu:2", 1)
    undisturbed: dict[str, Mapping[str, Any]] = {}
    change(*small)
    scene.await_ready("changing")
    number, _ = arrived(small[0])
    with counted(scene.stage, "changing", cores) as serving:
        for writes in itertools.count(0):
            hits = 0
            for form in (large, small):
                hits += scene.killed_after(writes, lambda: change(*form), lambda: rolled_out(scene, form[0]) is not None, "changing")  # noqa: B023
                before, (number, state) = number, arrived(form[0])
                assert number == before + 1
                assert state == undisturbed.setdefault(form[0], state)
            killed += hits
            if writes and not hits:
                break
    assert serving.least == 2
    assert killed >= 8
    started_anew(scene, killed, started_s)


@pytest.mark.parametrize("status", [429, 500, 410, 403])
def test_an_api_server_that_refuses_everything_is_outlived(scene: Scene, status: int) -> None:
    """Everything is answered with that status for some seconds, watches are cut: what was applied meanwhile is looked after once it is over."""
    scene.serve("before")
    scene.await_ready("before")
    scene.weather.tear |= {"/pods", "/nodes", "/inferenceservices", "/configmaps", "/deployments"}
    scene.weather.refuse["/"] = status
    scene.serve("meanwhile")
    time.sleep(3)
    scene.weather.clear()
    scene.await_ready("meanwhile", 60)
    scene.await_named(f"'code': {status}", "stowplan_operator_watch_troubles_total")
    assert scene.stage.cluster.running(scene.operator.name)


def test_answers_that_cannot_be_read_are_outlived(scene: Scene) -> None:
    """Something between the operator and the API server spoils the list of one kind: the operator begins anew again and again, and goes on once it is over."""
    scene.operator.kill()
    scene.weather.garble.add("GET /api/v1/configmaps")
    scene.operator.start(wait=False)
    scene.serve("meanwhile")
    wait_until(lambda: scene.operator.log().count("the watches broke off; they are started anew") >= 3, 60, scene.operator.log)
    scene.await_named("UnicodeDecodeError", "stowplan_operator_shifts_broken_total")
    scene.weather.clear()
    scene.await_ready("meanwhile", 60)


def test_writes_that_are_refused_for_a_while_are_repeated(scene: Scene) -> None:
    """Deployments and statuses are refused with 429, then 500, then 409: the service is made once they pass; a metric tells each status."""

    def retried() -> float:
        return scene.operator.metric("stowplan_operator_reconciliations_total", outcome="retried")

    for status in (429, 500, 409):
        before = retried()
        scene.weather.refuse["PATCH"] = status
        scene.serve(f"patient-{status}")
        wait_until(lambda: scene.operator.metric("stowplan_operator_api_failures_total", status=str(status)) >= 2, 20, f"{status} counted")  # noqa: B023
        # One look can fail twice: its Deployment is refused, and the status that would tell it. So looks are waited for, too.
        wait_until(lambda: retried() >= before + 2, 20, f"two looks that end with {status}")  # noqa: B023
        scene.weather.clear()
        scene.await_ready(f"patient-{status}")
    assert scene.operator.logged("the API server did not do its part; the service is looked at again")
    assert retried() >= 6


def test_a_slow_api_server_makes_nothing_twice(scene: Scene) -> None:
    """Writes are carried out and answered after we gave up: they are repeated, which changes nothing; one Deployment of one generation, one pod."""
    scene.weather.late_s["PATCH"] = 3.0
    scene.serve("late")
    scene.await_named("TimeoutError", "stowplan_operator_api_failures_total", status="no answer")
    scene.weather.clear()
    scene.await_ready("late")
    deployment = scene.stage.cluster.get("deployment", "late", "-n", scene.stage.namespace)
    assert deployment["metadata"]["generation"] == 1
    assert len(scene.stage.pods("late")) == 1


def test_a_restarted_api_server_is_found_again(scene: Scene) -> None:
    """The API server is killed and started again: the watches come back, what is applied afterwards is served."""
    scene.serve("before")
    scene.await_ready("before")
    again(scene.stage.cluster, "kube-apiserver")
    scene.stage.cluster.await_ready("kube-apiserver", lambda: scene.stage.cluster.answers("/readyz"))
    wait_until(lambda: _applied(scene, "after"), 30, "a service taken")
    scene.await_ready("after", 60)
    scene.await_named("a watch broke off; it is begun anew where it was", "stowplan_operator_watches_broken_total")
    assert scene.stage.cluster.running(scene.operator.name)


def _applied(scene: Scene, name: str) -> bool:
    try:
        scene.serve(name)
    except CommandFailed:
        return False
    return True


def test_a_deletion_that_no_watch_told_is_noticed(scene: Scene) -> None:
    """A node's deletion is swallowed: within a sweep its rungs are gone from the ladder, and a metric and a log line tell the missed deletion."""
    scene.stage.add_nodes(node("brief", "2", SLOW))
    scene.serve("hopeful", slice_classes=[QUICK_CORE, SLOW_CORE])
    wait_until(lambda: len(scene.stage.service("hopeful").get("status", {}).get("ladder", [])) == 2, 20, lambda: scene.stage.tell("hopeful"))
    scene.weather.swallow.add(("/api/v1/nodes", '"type":"DELETED"'))
    remove_nodes(scene.stage.cluster, ["brief"])
    scene.await_named("objects were deleted and no watch told it", "stowplan_operator_missed_deletes_total", kind="nodes")
    wait_until(lambda: len(scene.stage.service("hopeful")["status"]["ladder"]) == 1, 10, lambda: scene.stage.tell("hopeful"))


def test_a_definition_deleted_under_it_is_waited_for(scene: Scene) -> None:
    """The API itself is deleted and comes back: the operator lives on, and serves what is applied then."""
    crd = "crd/inferenceservices.stowplan.dev"
    scene.stage.cluster.kubectl("delete", crd, KUBECTL_PATIENCE, timeout_s=PATIENCE_S + 30)
    wait_until(lambda: scene.operator.logged("the definition of InferenceServices is gone"), 20, "a line about the definition")
    wait_until(lambda: scene.operator.metric("stowplan_operator_definition_served") == 0, 20, "the metric of the definition")
    # Watches that were cut with it may fail seconds later.
    time.sleep(3)
    assert scene.stage.cluster.running(scene.operator.name)
    api_definitions.serve(scene.stage.cluster)
    wait_until(lambda: _applied(scene, "after"), 20, "a service taken")
    scene.await_ready("after", 60)
    wait_until(lambda: scene.operator.metric("stowplan_operator_definition_served") == 1, 20, "the metric of the definition")
    assert scene.stage.cluster.running(scene.operator.name)


def test_config_maps_deleted_under_it_change_conditions_and_no_pods(scene: Scene) -> None:
    """The model's ConfigMap goes: ModelNotFound, and the pod serves on. The descriptors go: nothing can be predicted, and it serves on. Both come back."""
    scene.serve("steady")
    scene.await_ready("steady")
    (before,) = scene.stage.pods("steady")
    scene.stage.cluster.kubectl("delete", "configmap", "squeezenet-graph", "-n", scene.stage.namespace)
    assert scene.stage.await_condition("steady", "ModelAnalyzed", "False")["reason"] == "ModelNotFound"
    scene.await_named('"reason": "ModelNotFound"', "stowplan_service_condition", condition="Ready", status="False", reason="ModelNotFound")
    scene.stage.upload("squeezenet")
    scene.await_ready("steady")
    described = scene.stage.cluster.get("configmap", "devices", "-n", SYSTEM_NAMESPACE)
    scene.stage.cluster.kubectl("delete", "configmap", "devices", "-n", SYSTEM_NAMESPACE)
    try:
        assert scene.stage.await_condition("steady", "Placeable", "False")["reason"] == "PredictionUnknown"
        scene.await_named('"reason": "PredictionUnknown"', "stowplan_service_condition", condition="Placeable", status="False", reason="PredictionUnknown")
    finally:
        described["metadata"] = {key: described["metadata"][key] for key in ("name", "namespace", "labels")}
        apply(scene.stage.cluster, described)
    scene.await_ready("steady")
    assert [pod["metadata"]["uid"] for pod in scene.stage.pods("steady")] == [before["metadata"]["uid"]]


@pytest.mark.parametrize("jump_s", [100_000, -100_000], ids=["ahead", "back"])
def test_a_clock_that_jumps_moves_nobody(scene: Scene, jump_s: int) -> None:
    """The operator's wall clock jumps by more than a day: a service that runs stays where it is, a new one is served; a metric and a log line tell it."""
    scene.serve("standing")
    scene.await_ready("standing")
    before = scene.stage.service("standing")["status"]["rung"]
    scene.clock.write_text(str(jump_s))
    scene.await_named("the wall clock jumped", "stowplan_operator_clock_jumps_total")
    scene.serve("newcomer")
    scene.await_ready("newcomer")
    assert scene.stage.service("standing")["status"]["rung"] == before
    assert scene.operator.metric("stowplan_operator_moves_total", move="climbed") == 0


def test_told_to_stop_in_the_middle_of_its_work_it_stops_and_leaves_nothing_half_done(scene: Scene) -> None:
    """SIGTERM while four services arrive: it ends by itself within a pod's grace, and the next one finishes all of them, one Deployment each."""
    names = [f"many-{index}" for index in range(4)]
    for name in names:
        scene.serve(name)
    started_s = scene.operator.metric("process_start_time_seconds")
    os.kill(scene.stage.cluster.processes[scene.operator.name], signal.SIGTERM)
    wait_until(lambda: not scene.stage.cluster.running(scene.operator.name), 25, "the operator ends")
    assert scene.operator.logged("operator ends")
    scene.operator.start()
    assert scene.operator.metric("process_start_time_seconds") > started_s
    for name in names:
        scene.await_ready(name)
        assert scene.stage.cluster.get("deployment", name, "-n", scene.stage.namespace)["metadata"]["generation"] == 1

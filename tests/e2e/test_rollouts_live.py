"""Right-sizing and rollouts on the real control plane: climbs, descents, changes on a full cluster, deletion, and other people's edits."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from stowplan_fleet import keys
from stowplan_operator.workloads.deployments import RESTARTED_AT_ANNOTATION
from support import components
from support.components import Operator
from support.controlplane import KUBECTL_PATIENCE, node, wait_until
from support.headcounts import cores, counted
from support.stages import Stage, inference_service
from support.troubles import QUICK, QUICK_CORE, absent, plain_pod

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(900)]

SLOW = {keys.DEVICE_LABEL: "made-up-slow", keys.CORE_PRICE_LABEL: "2.5"}
SLOW_CORE = "made-up-slow/cpu:1"
HASTE = {
    "STOWPLAN_OPERATOR_PATIENCE_CLIMB_AFTER_S": "2",
    "STOWPLAN_OPERATOR_PATIENCE_DESCEND_AFTER_S": "5",
    "STOWPLAN_OPERATOR_PATIENCE_RETRY_AFTER_S": "20",
    "STOWPLAN_OPERATOR_RECONCILING_RESYNC_S": "1",
}


@pytest.fixture
def hasty(stage: Stage) -> Iterator[Operator]:
    """An operator with little patience in place of the common one, and the model."""
    stage.upload("squeezenet")
    with absent(stage.cluster, "operator"):
        operator = components.operator(stage.cluster, stage.predictor_port, "stowplan-operator", name="operator-in-haste", more=HASTE)
        try:
            operator.start()
            yield operator
        finally:
            operator.kill()


def service(name: str, *slice_classes: str, image: str = "example.com/server", replicas: int = 1) -> dict[str, object]:
    found = inference_service(name, "squeezenet", 60_000, slice_classes=slice_classes, replicas={"min": replicas, "max": replicas})
    found["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return found


def test_a_service_climbs_when_its_rung_is_full_and_comes_down_when_there_is_room(stage: Stage, hasty: Operator) -> None:
    """Pods stay unschedulable on the cheap device: the dearer one is taken; when the cheap one is free again, and only after a while, it goes back."""
    stage.add_nodes(node("cheap", "2", QUICK | {keys.CORE_PRICE_LABEL: "1"}), node("dear", "2", SLOW))
    stage.apply(plain_pod("guest", "2", nodeName="cheap"))
    stage.apply(service("mover", QUICK_CORE, SLOW_CORE))
    (pod,) = stage.await_bound("mover")
    assert pod["spec"]["nodeName"] == "dear"
    stage.await_condition("mover", "Ready", "True")
    # For as long as it is not tried again, and after it was tried in vain.
    wait_until(lambda: _ladder(stage, "mover") == [(QUICK_CORE, 1, "NoSpareSlice"), (SLOW_CORE, 2.5, None)], 20, lambda: stage.tell("mover"))
    with counted(stage, "mover") as serving:
        stage.cluster.kubectl("delete", "pod", "guest", "-n", stage.namespace, "--wait=false", "--force")
        wait_until(lambda: [item["spec"].get("nodeName") for item in stage.pods("mover")] == ["cheap"], 40, lambda: stage.tell("mover"))
    assert serving.least >= 1
    assert hasty.metric("stowplan_operator_moves_total", move="climbed") >= 1
    assert hasty.metric("stowplan_operator_moves_total", move="descended") >= 1


def _ladder(stage: Stage, name: str) -> list[tuple[str, float, str | None]]:
    return [(rung["sliceClass"], rung["cost"], rung.get("skipped")) for rung in stage.service(name)["status"]["ladder"]]


def test_a_change_on_a_full_cluster_says_no_spare_slice_and_drops_nobody(stage: Stage, hasty: Operator) -> None:
    """A new image with no slice to spare: NoSpareSlice within seconds, the former pod serves on; one more node, and the change is through."""
    stage.add_nodes(node("full", "1", QUICK))
    stage.apply(service("changing", QUICK_CORE, image="example.com/server:1"))
    stage.await_condition("changing", "Ready", "True")
    (before,) = stage.pods("changing")
    with counted(stage, "changing") as serving:
        stage.apply(service("changing", QUICK_CORE, image="example.com/server:2"))
        condition = stage.await_condition("changing", "Scheduled", "False")
        wait_until(lambda: stage.await_condition("changing", "Scheduled", "False")["reason"] == "NoSpareSlice", 10, lambda: stage.tell("changing"))
        assert "nodes are available" in stage.await_condition("changing", "Scheduled", "False")["message"]
        assert stage.await_condition("changing", "Ready", "True")
        assert before["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in stage.pods("changing")}
        assert condition["reason"] in {"NoSpareSlice", "WaitingForPlacement"}
        stage.add_nodes(node("more", "1", QUICK))
        wait_until(lambda: _images(stage, "changing") == ["example.com/server:2"], 40, lambda: stage.tell("changing"))
    assert serving.least >= 1
    assert stage.await_condition("changing", "Scheduled", "True")["reason"] == "AllReplicasBound"
    assert hasty.metric("stowplan_operator_writes_total", kind="deployment") >= 2


def _images(stage: Stage, name: str) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in stage.pods(name)]


def test_a_move_to_fewer_larger_servers_never_has_fewer_serving_than_before(stage: Stage, hasty: Operator) -> None:
    """From two servers on one core to one on two: never fewer than two cores serve until the large one does, and then the two go."""
    stage.add_nodes(node("roomy", "8", QUICK))
    stage.apply(service("merging", QUICK_CORE, replicas=2))
    stage.await_condition("merging", "Ready", "True")
    larger = "made-up-quick/cpu:2"

    def only_the_large_one() -> bool:
        return [pod["metadata"]["annotations"][keys.SLICE_CLASS_ANNOTATION] for pod in stage.pods("merging")] == [larger]

    with counted(stage, "merging", cores) as serving:
        stage.apply(service("merging", larger))
        wait_until(only_the_large_one, 40, lambda: stage.tell("merging"))
    assert serving.least >= 2
    assert hasty.metric("stowplan_operator_writes_total", kind="deployment") >= 3


def test_deletion_leaves_nothing_and_the_name_can_be_used_again(stage: Stage, hasty: Operator) -> None:
    """A deleted service takes its Deployment and pods along at once; one of the same name gets new ones; no finalizer holds anything."""
    del hasty
    stage.add_nodes(node("short", "2", QUICK))
    stage.apply(service("brief", QUICK_CORE))
    stage.await_condition("brief", "Ready", "True")
    first = stage.cluster.get("deployment", "brief", "-n", stage.namespace)["metadata"]["uid"]
    stage.cluster.kubectl("delete", "stow", "brief", "-n", stage.namespace, KUBECTL_PATIENCE)
    stage.apply(service("brief", QUICK_CORE))
    stage.await_condition("brief", "Ready", "True", 40)
    found = stage.cluster.get("deployment", "brief", "-n", stage.namespace)
    assert found["metadata"]["uid"] != first
    stage.cluster.kubectl("delete", "stow", "brief", "-n", stage.namespace, KUBECTL_PATIENCE)
    # The garbage collector asks for new kinds of owners every half minute.
    wait_until(lambda: not stage.pods("brief"), 60, lambda: stage.tell("brief"))
    wait_until(lambda: not stage.cluster.get("deployments", "-n", stage.namespace)["items"], 20, "the Deployment is gone")


def test_edits_by_others_are_put_right_and_one_who_insists_is_named(stage: Stage, hasty: Operator) -> None:
    """A Deployment that is scaled by hand is scaled back; deleted, it is made again; after the third edit the editor is named in a condition and not fought."""
    stage.add_nodes(node("edited", "8", QUICK))
    stage.apply(service("edited", QUICK_CORE))
    stage.await_condition("edited", "Ready", "True")

    def replicas() -> int:
        return int(stage.cluster.get("deployment", "edited", "-n", stage.namespace)["spec"]["replicas"])

    def scale(count: int) -> None:
        patch = json.dumps({"spec": {"replicas": count}})
        stage.cluster.kubectl("patch", "deployment", "edited", "-n", stage.namespace, "--type=merge", "-p", patch, "--field-manager=somebodys-autoscaler")

    for _ in range(3):
        scale(5)
        wait_until(lambda: replicas() == 1, 20, "scaled back")
    scale(5)
    condition = wait_until(
        lambda: found if (found := stage.await_condition("edited", "Ready", "False"))["reason"] == "ForeignEdits" else None, 20, lambda: stage.tell("edited")
    )
    assert "somebodys-autoscaler changed it 4 times" in condition["message"]
    assert replicas() == 5
    assert hasty.metric("stowplan_operator_reverts_total") == 3
    assert hasty.logged("a Deployment was changed by somebody else; it is put right")
    stage.cluster.kubectl("delete", "deployment", "edited", "-n", stage.namespace)
    wait_until(lambda: stage.cluster.get("deployments", "-n", stage.namespace)["items"], 20, "the Deployment is made again")
    assert replicas() == 1


def test_what_others_add_to_a_deployment_is_taken_out(stage: Stage, hasty: Operator) -> None:
    """A variable and a container added to the Deployment by somebody else are taken out; `kubectl rollout restart` restarts the pods once and is let be."""
    stage.add_nodes(node("added-to", "8", QUICK))
    stage.apply(service("pure", QUICK_CORE))
    stage.await_condition("pure", "Ready", "True")

    def template() -> dict[str, Any]:
        found: dict[str, Any] = stage.cluster.get("deployment", "pure", "-n", stage.namespace)["spec"]["template"]
        return found

    before = template()
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "guest", "image": "example.com/guest"}]}}}}
    deployment = ("deployment/pure", "-n", stage.namespace)
    for command in (("set", "env", *deployment, "GUEST=1"), ("patch", *deployment, "-p", json.dumps(sidecar))):
        stage.cluster.kubectl(*command)
        wait_until(lambda: template() == before, 20, lambda: json.dumps(template()))
    wait_until(lambda: len(stage.pods("pure")) == 1 and stage.pods("pure")[0]["spec"]["containers"][0]["image"], 40, lambda: stage.tell("pure"))
    stage.cluster.kubectl("rollout", "restart", *deployment)
    restarted = template()["metadata"]["annotations"][RESTARTED_AT_ANNOTATION]
    stage.cluster.kubectl("rollout", "status", *deployment, "--timeout=60s")
    stage.await_condition("pure", "Ready", "True")
    (pod,) = wait_until(lambda: pods if len(pods := stage.pods("pure")) == 1 else None, 40, lambda: stage.tell("pure"))
    assert [item["name"] for item in pod["spec"]["containers"]] == ["server"]
    assert pod["metadata"]["annotations"][RESTARTED_AT_ANNOTATION] == restarted
    assert template()["metadata"]["annotations"].pop(RESTARTED_AT_ANNOTATION) == restarted
    assert hasty.metric("stowplan_operator_reverts_total") == 2


def test_a_template_or_pods_that_are_refused_are_told_and_mended(stage: Stage, hasty: Operator) -> None:
    """A misspelt field and a port twice: SpecRefused with the path. A quota without room: PodsRefused with its words. Mended, each is served."""
    del hasty
    stage.add_nodes(node("willing", "8", QUICK))

    def ready(name: str, said: str) -> None:
        def found() -> dict[str, Any]:
            return {item["type"]: item for item in stage.service(name).get("status", {}).get("conditions", [])}

        wait_until(lambda: said in found().get("Ready", {}).get("message", ""), 20, lambda: stage.tell(name))
        assert (found()["Ready"]["reason"], found()["Scheduled"]["status"]) == ("SpecRefused", "Unknown")

    for name, field, value, said in (
        ("misspelt", "imagee", "x", '.spec.template.spec.containers[name="server"].imagee: field not declared in schema'),
        ("twice", "ports", [{"containerPort": 80}, {"containerPort": 80}], "duplicate entries for key"),
        ("typed", "env", [{"name": "A", "value": 5}], "env"),
    ):
        wrong: Any = service(name, QUICK_CORE)
        wrong["spec"]["template"]["spec"]["containers"][0][field] = value
        stage.apply(wrong)
        ready(name, said)
    stage.cluster.kubectl("delete", "stow", "--all", "-n", stage.namespace, KUBECTL_PATIENCE)
    stage.cluster.kubectl("create", "quota", "none", "--hard=pods=0", "-n", stage.namespace)
    stage.apply(service("barred", QUICK_CORE))
    condition = wait_until(
        lambda: found if (found := stage.await_condition("barred", "Scheduled", "False"))["reason"] == "PodsRefused" else None, 20, lambda: stage.tell("barred")
    )
    assert "exceeded quota: none" in condition["message"]
    stage.cluster.kubectl("delete", "quota", "none", "-n", stage.namespace)
    # The controller tries a refused pod again at growing distances; a change of the Deployment makes it look at once.
    stage.apply(service("barred", QUICK_CORE, image="example.com/server:2"))
    stage.await_condition("barred", "Ready", "True", 60)

"""Placements: services land where they and everyone there stay inside their objectives, and nowhere else."""

import pytest
from stowplan_fleet import keys
from support.controlplane import node
from support.objectives import between, upper_ms
from support.stages import Stage, inference_service

pytestmark = pytest.mark.controlplane

QUICK, SLOW = {keys.DEVICE_LABEL: "made-up-quick"}, {keys.DEVICE_LABEL: "made-up-slow"}
QUICK_CORE, SLOW_CORE = "made-up-quick/cpu:1", "made-up-slow/cpu:1"


def test_a_service_lands_on_the_only_kind_of_node_that_keeps_its_objective(stage: Stage) -> None:
    """Of two kinds of nodes only one is fast enough; the other has more room, and gets nothing."""
    objective = between(upper_ms(stage.ask("resnet50", QUICK_CORE, 1)), upper_ms(stage.ask("resnet50", SLOW_CORE, 1)))
    stage.add_nodes(node("quick", "2", QUICK), node("slow-a", "16", SLOW), node("slow-b", "16", SLOW))
    stage.upload("resnet50")
    stage.apply(inference_service("photos", "resnet50", objective, slice_classes=[QUICK_CORE, SLOW_CORE]))

    (pod,) = stage.await_bound("photos")
    stage.await_condition("photos", "Placeable", "True")

    assert pod["spec"]["nodeName"] == "quick"
    assert pod["metadata"]["annotations"][keys.BOUND_SLICE_ANNOTATION] == QUICK_CORE
    assert float(pod["metadata"]["annotations"][keys.PREDICTED_MS_ANNOTATION]) <= objective


def a_touchy_resident(stage: Stage) -> int:
    """A resident on the only node that keeps its objective alone and would not beside a SqueezeNet; its objective in milliseconds."""
    newcomer = stage.occupant("squeezenet", QUICK_CORE, 1)
    alone, beside = stage.ask("resnet50", QUICK_CORE, 1), stage.ask("resnet50", QUICK_CORE, 1, [newcomer])
    objective = between(upper_ms(alone), upper_ms(beside))
    stage.add_nodes(node("shared", "4", QUICK))
    stage.upload("resnet50")
    stage.upload("squeezenet")
    stage.apply(inference_service("resident", "resnet50", objective, slice_classes=[QUICK_CORE]))
    return objective


def test_a_resident_is_protected_by_name(stage: Stage) -> None:
    """A newcomer that would push a resident over its objective waits, with the resident's name in its event; a second node takes it at once."""
    objective = a_touchy_resident(stage)
    stage.await_bound("resident")

    stage.apply(inference_service("newcomer", "squeezenet", 60_000, slice_classes=[QUICK_CORE]))
    said = stage.await_refusal("newcomer", f"would push resident {stage.namespace}/resident over its SLO of {objective} ms")
    assert "0/1 nodes are available" in said
    assert all("nodeName" not in pod["spec"] for pod in stage.pods("newcomer"))

    stage.add_nodes(node("second", "4", QUICK))
    (pod,) = stage.await_bound("newcomer")
    assert pod["spec"]["nodeName"] == "second"
    assert [pod["spec"]["nodeName"] for pod in stage.pods("resident")] == ["shared"]


def test_a_refused_pod_is_woken_when_the_resident_objective_is_relaxed(stage: Stage) -> None:
    """No node, no pod and nothing else that kube-scheduler watches changes, only a resident's objective: the newcomer is bound within seconds, not minutes."""
    a_touchy_resident(stage)
    stage.await_condition("resident", "Ready", "True")
    stage.apply(inference_service("newcomer", "squeezenet", 60_000, slice_classes=[QUICK_CORE]))
    stage.await_refusal("newcomer", f"would push resident {stage.namespace}/resident over its SLO")
    stage.await_quiet("newcomer")

    stage.apply(inference_service("resident", "resnet50", 60_000, slice_classes=[QUICK_CORE]))
    (pod,) = stage.await_bound("newcomer")

    assert keys.RETRY_ANNOTATION in pod["metadata"]["annotations"]


def test_an_impossible_objective_says_why_for_each_kind_of_node(stage: Stage) -> None:
    """Nothing runs a ResNet-50 in a millisecond: the service stays out, and its condition says for each kind of slice why."""
    stage.add_nodes(node("quick", "4", QUICK), node("slow", "4", SLOW))
    stage.upload("resnet50")
    stage.apply(inference_service("wishful", "resnet50", 1, slice_classes=[QUICK_CORE, SLOW_CORE]))

    condition = stage.await_condition("wishful", "Placeable", "False")
    ladder = {rung["sliceClass"]: rung for rung in stage.service("wishful")["status"]["ladder"]}

    assert condition["reason"]
    assert {QUICK_CORE, SLOW_CORE} <= set(ladder)
    for slice_class in (QUICK_CORE, SLOW_CORE):
        assert slice_class in condition["message"]
        assert ladder[slice_class]["meetsSLO"] is False
        assert ladder[slice_class]["predictedMilliseconds"] > 1
        assert ladder[slice_class]["reason"]
    assert all("nodeName" not in pod["spec"] for pod in stage.pods("wishful"))

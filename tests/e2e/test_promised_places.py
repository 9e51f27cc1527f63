"""A place that was promised to one pod is promised to nobody else."""

import pytest
from stowplan_fleet import keys
from support.controlplane import node, wait_until
from support.objectives import between, upper_ms
from support.stages import Stage, inference_service
from support.troubles import await_named, stopped
from support.wiretaps import Call

pytestmark = pytest.mark.controlplane

QUICK_CORE = "made-up-quick/cpu:1"


def test_two_pods_filtered_before_either_is_bound_never_share_a_slice_promised_to_one(stage: Stage) -> None:
    """Two replicas pass the filter while the node is empty. The first binding takes the place; the second one is decided anew, and refused."""
    other = stage.occupant("resnet50", QUICK_CORE, 1)
    alone, beside = stage.ask("resnet50", QUICK_CORE, 1), stage.ask("resnet50", QUICK_CORE, 1, [other])
    twins = inference_service("twins", "resnet50", between(upper_ms(alone), upper_ms(beside)), 2, slice_classes=[QUICK_CORE], replicas={"min": 2, "max": 2})
    stage.add_nodes(node("only", "4", {keys.DEVICE_LABEL: "made-up-quick"}))
    stage.upload("resnet50")
    with stage.wiretap.holding("bind", stage.namespace) as gate:
        # A binding can be held for a moment only, so both pods are there before the scheduler sees the first.
        with stopped(stage.cluster, "kube-scheduler-stowplan"):
            stage.apply(twins)
            wait_until(lambda: len(stage.pods("twins")) == 2, 20, lambda: stage.tell("twins"))
        filters = wait_until(lambda: _of_two_pods(stage), 20, lambda: stage.tell("twins"))
        assert stage.wiretap.about(stage.namespace, "bind") == []
        gate.set()

    assert [call.answer["NodeNames"] for call in filters] == [["only"], ["only"]]
    stage.await_bound("twins", 1)
    stage.await_refusal("twins", f"{stage.namespace}/twins")
    bindings = wait_until(lambda: _of_two_pods(stage, "bind"), 20, lambda: stage.tell("twins"))
    assert sorted(bool(call.answer["Error"]) for call in bindings) == [False, True]
    assert len([pod for pod in stage.pods("twins") if pod["spec"].get("nodeName")]) == 1
    await_named(stage.extender, "can no longer take the pod", "stowplan_extender_refusals_total", verb="bind", cause="PlaceLost")


def _of_two_pods(stage: Stage, verb: str = "filter") -> list[Call]:
    """The first call about each of the two pods; nothing while one was not called about."""
    first = {call.pod: call for call in reversed(stage.wiretap.about(stage.namespace, verb))}
    return list(first.values()) if len(first) == 2 else []

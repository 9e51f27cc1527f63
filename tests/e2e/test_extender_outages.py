"""An extender that is gone stops our own pods and nobody else's, and nothing has to be done once it is back."""

import pytest
from stowplan_fleet import keys
from support.controlplane import node, plain_pod, wait_until
from support.stages import Stage, inference_service

pytestmark = pytest.mark.controlplane


def test_others_are_unaffected_ours_wait_and_it_recovers_by_itself(stage: Stage) -> None:
    """With the extender killed, pods of the default scheduler and pods without the marker are bound; ours wait, and are bound once it runs again."""
    stage.add_nodes(node("only", "4", {keys.DEVICE_LABEL: "made-up-quick"}))
    stage.upload("squeezenet")
    stage.extender.kill()
    try:
        stage.apply(inference_service("patient", "squeezenet", 60_000))
        wait_until(lambda: stage.wiretap.about(stage.namespace), 20, lambda: stage.tell("patient"))
        stage.apply(plain_pod("somebody-elses", "default-scheduler", "50m"), plain_pod("ours-without-marker", "stowplan", "50m"))
        wait_until(lambda: _bound(stage) == {"somebody-elses", "ours-without-marker"}, 20, lambda: stage.tell("patient"))
        assert all(call.answer is None for call in stage.wiretap.about(stage.namespace))
    finally:
        stage.extender.start()

    stage.await_bound("patient")


def _bound(stage: Stage) -> set[str]:
    return {pod["metadata"]["name"] for pod in stage.pods() if pod["spec"].get("nodeName")}

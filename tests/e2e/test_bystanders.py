"""Whoever did not ask for us never meets us."""

import pytest
from stowplan_fleet import keys
from support.controlplane import node, plain_pod, wait_until
from support.stages import Stage

pytestmark = pytest.mark.controlplane


def test_a_pod_without_the_marker_never_reaches_the_extender(stage: Stage) -> None:
    """Even our own scheduler binds a pod without the marker resource by itself: no call about it ever goes to the extender, and nothing is written on it."""
    stage.add_nodes(node("bystander", "4", {keys.DEVICE_LABEL: "made-up-quick"}))
    stage.apply(plain_pod("ours-without-marker", "stowplan", "1"), plain_pod("somebody-elses", "default-scheduler", "1"))
    wait_until(lambda: all(pod["spec"].get("nodeName") == "bystander" for pod in stage.pods()), 20, lambda: stage.tell("none"))

    assert stage.wiretap.about(stage.namespace) == []
    assert not any(key.startswith("stowplan.dev/") for pod in stage.pods() for key in pod["metadata"].get("annotations", {}))

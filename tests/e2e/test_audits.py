"""The audit that follows every end-to-end test notices what it is there to notice."""

from collections.abc import Mapping
from typing import Any

import pytest
from stowplan_fleet import keys
from support.audits import violations

NODE = {
    "metadata": {"name": "n", "labels": {keys.DEVICE_LABEL: "made-up"}},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "nvidia.com/mig-1g.10gb": "1"}},
}
BOUND = {
    keys.SLICE_CLASS_ANNOTATION: "made-up/cpu:1",
    keys.BOUND_SLICE_ANNOTATION: "made-up/cpu:1",
    keys.PREDICTED_MS_ANNOTATION: "9.5",
    keys.BASIS_ANNOTATION: "extrapolated",
    keys.BUNDLE_ANNOTATION: "b@1",
    keys.PREDICTION_ID_ANNOTATION: "x",
}
SERVICE = {"metadata": {"name": "s", "namespace": "t", "generation": 1}, "spec": {"slo": {"latencyMilliseconds": 10}}, "status": {"conditions": []}}


def pod(name: str = "p", node: str | None = "n", annotations: Mapping[str, str] = BOUND, limits: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod of ours with those limits beside a core."""
    resources = {"limits": {keys.MARKER_RESOURCE: "1", "cpu": "1", **(limits or {})}}
    metadata = {"name": name, "namespace": "t", "labels": {keys.SERVICE_LABEL: "s"}, "annotations": dict(annotations)}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [{"resources": resources}]}, "status": {"phase": "Running"}}


def test_a_sound_cluster_passes() -> None:
    """Two pods of ours that fill a node exactly, each with what the Binding wrote, break nothing."""
    assert violations([NODE], [pod("a"), pod("b")], [SERVICE]) == []


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([pod("a"), pod("b"), pod("c")], "promised 3 cpu and has 2"),
        ([pod("a", limits={"nvidia.com/mig-1g.10gb": "1"}), pod("b", limits={"nvidia.com/mig-1g.10gb": "1"})], "promised 2 nvidia.com/mig-1g.10gb and has 1"),
        ([pod(limits={"memory": "1025Mi"})], "memory"),
        ([pod(annotations={keys.SLICE_CLASS_ANNOTATION: "made-up/cpu:1"})], "bound without"),
        ([pod(annotations=BOUND | {keys.BOUND_SLICE_ANNOTATION: "made-up/cpu:2"})], "was to have slice"),
        ([pod(annotations=BOUND | {keys.SLICE_CLASS_ANNOTATION: "other/cpu:1", keys.BOUND_SLICE_ANNOTATION: "other/cpu:1"})], "whose device is made-up"),
        ([pod(annotations=BOUND | {keys.PREDICTED_MS_ANNOTATION: "10.5"})], "against an objective of 10 ms"),
        ([pod(annotations=BOUND | {keys.PREDICTED_MS_ANNOTATION: "nan"})], "against an objective of 10 ms"),
        ([pod(node=None)], "not bound"),
    ],
)
def test_a_broken_cluster_is_noticed(pods: list[dict[str, Any]], said: str) -> None:
    """Each way to break a promise is named: too much of a resource, no slice written, another slice or device, a prediction over the objective."""
    assert any(said in found for found in violations([NODE], pods, [SERVICE]))


def test_a_condition_of_a_generation_that_never_was_is_noticed() -> None:
    """A condition may not observe a generation beyond the object's own, nor stand there without a reason."""
    condition = {"type": "Ready", "status": "True", "reason": "Fine", "observedGeneration": 2}

    assert any("condition" in found for found in violations([], [], [SERVICE | {"status": {"conditions": [condition]}}]))
    assert violations([], [], [SERVICE | {"status": {"conditions": [condition | {"observedGeneration": 1}]}}]) == []

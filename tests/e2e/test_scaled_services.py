"""The scale subresource at work: an autoscaler and a person scale a service, and as many servers run."""

import pytest
from support.components import Operator
from support.controlplane import node, wait_until
from support.stages import Stage, inference_service
from support.troubles import QUICK, QUICK_CORE

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(900)]


def test_an_autoscaler_scales_a_service(stage: Stage, operator: Operator) -> None:
    """A HorizontalPodAutoscaler finds service and pods by the scale subresource and asks for its least count; kubectl scales on; never beyond the author's."""
    del operator
    stage.add_nodes(node("wide", "8", QUICK))
    stage.upload("squeezenet")
    stage.apply(inference_service("elastic", "squeezenet", 60_000, slice_classes=[QUICK_CORE], replicas={"min": 1, "max": 3}))
    stage.await_bound("elastic")
    target = {"apiVersion": "stowplan.dev/v1alpha1", "kind": "InferenceService", "name": "elastic"}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3, "metrics": [metric]}
    stage.apply({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "elastic"}, "spec": spec})

    def told() -> str:
        return stage.cluster.kubectl("get", "hpa/elastic", "-n", stage.namespace, "-o", "yaml") + stage.tell("elastic")

    # The controller asks for new kinds every half minute, and looks every quarter.
    wait_until(lambda: stage.service("elastic")["spec"]["replicas"]["min"] == 2, 90, told)
    stage.await_bound("elastic", 2)
    stage.cluster.kubectl("scale", "stow/elastic", "--replicas=3", "-n", stage.namespace)
    stage.await_bound("elastic", 3)
    scale = stage.cluster.kubectl("get", "stow/elastic", "--subresource=scale", "-n", stage.namespace, "-o", "jsonpath={.spec.replicas} {.status}")
    assert scale.startswith("3 ")
    assert '"selector":"stowplan.dev/inference-service=elastic"' in scale
    assert '"replicas":3' in scale
    stage.await_condition("elastic", "Ready", "True")

"""A tenant's broken file is that tenant's affair."""

import pytest
from stowplan_fleet import keys
from support.controlplane import node
from support.stages import MODELS, Stage, inference_service

pytestmark = pytest.mark.controlplane


def test_a_broken_model_is_a_condition_on_its_own_object_and_blocks_nobody(stage: Stage) -> None:
    """A truncated file and plain rubbish become ModelAnalyzed=False with the reason in words; a sound service beside them is placed."""
    sound = (MODELS / "squeezenet.onnx").read_bytes()
    stage.add_nodes(node("only", "4", {keys.DEVICE_LABEL: "made-up-quick"}))
    stage.upload("squeezenet")
    stage.upload("truncated", content=sound[: len(sound) // 2])
    stage.upload("rubbish", content=b"this is no model")
    for name in ("truncated", "rubbish", "squeezenet"):
        stage.apply(inference_service(name, name, 60_000))

    stage.await_bound("squeezenet")
    for name in ("truncated", "rubbish"):
        condition = stage.await_condition(name, "ModelAnalyzed", "False")
        assert "model file" in condition["message"]
        assert all("nodeName" not in pod["spec"] for pod in stage.pods(name))

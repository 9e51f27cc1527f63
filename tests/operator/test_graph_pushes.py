"""Models that are broken, and predictors that are away or have forgotten: whose affair that is, and how it is mended."""

from typing import Any

import pytest
from support.operator_scenes import Scene


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"model": {"uri": "https://example.org/m.onnx"}}, "SourceNotAllowed"),
        ({"model": {"uri": "configmap://elsewhere/model.onnx"}}, "ModelNotFound"),
        ({"model": {"uri": "configmap://net-graph/model.onnx", "digest": "sha256:" + "0" * 64}}, "DigestMismatch"),
        ({"model": {"uri": "configmap://broken/model.onnx"}}, "ModelRefused"),
    ],
)
async def test_a_broken_model_is_its_own_affair(spec: dict[str, Any], reason: str) -> None:
    """What is wrong with a model stands in its own conditions; another service beside it is looked after as ever."""
    scene = Scene()
    scene.world.put_model(b"\xff\x00 garbage", name="broken")
    bad = scene.world.put_service("bad", **spec)
    assert await scene.reconciler.reconcile(bad) == 30
    await scene.look()
    assert scene.world.condition(bad, "ModelAnalyzed")["reason"] == reason
    assert scene.world.condition(bad, "Ready")["reason"] == reason
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_a_mended_model_is_analysed_again() -> None:
    """When the ConfigMap changes, the new file counts."""
    scene = Scene()
    await scene.look()
    scene.world.put_model(b"work=60", version="2")
    await scene.look()
    assert scene.predictor.analyses == 2
    assert scene.status["sliceClass"] == "test-cpu/cpu:2"


async def test_a_predictor_that_is_down_leaves_everything_standing() -> None:
    """Without a predictor the conditions become Unknown, the look is repeated with back-off, and what runs keeps running."""
    scene = Scene()
    await scene.look()
    before = dict(scene.status), scene.world.stored[scene.name]
    scene.predictor.up = False
    scene.restart()
    assert await scene.look() is None
    assert scene.conditions()["ModelAnalyzed"] == ("Unknown", "PredictorUnavailable")
    assert scene.conditions()["Placeable"] == ("Unknown", "PredictorUnavailable")
    assert {key: scene.status[key] for key in ("ladder", "sliceClass", "model", "replicas")} == {
        key: before[0][key] for key in ("ladder", "sliceClass", "model", "replicas")
    }
    assert scene.world.stored[scene.name] == before[1]
    scene.predictor.up = True
    assert await scene.look() == 30
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_a_restarted_predictor_gets_its_graph_back() -> None:
    """A predictor that forgot a graph is given the model again, within the same look."""
    scene = Scene()
    await scene.look()
    scene.predictor.work.clear()
    assert await scene.look() == 30
    assert scene.predictor.analyses == 2
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_another_predictor_that_was_restarted_gets_its_graph_too() -> None:
    """The predictor that is asked knows the graph, another one behind the same name does not: the model is pushed to all of them within the same look."""
    scene = Scene()
    await scene.look()
    scene.predictor.another_forgot = True
    assert await scene.look() == 30
    assert scene.predictor.analyses == 2
    assert await scene.look() == 30
    assert scene.predictor.analyses == 2

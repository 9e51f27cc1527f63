"""The predictor in trouble, as the operator sees it: dead, slow, answering rubbish or with another bundle. What serves goes on, and everything comes back."""

import pytest
from controlplane_clusters import free_ports
from support.controlplane import condition_of, wait_until
from support.moody_predictors import serve_moody
from support.operators_in_weather import Scene

pytestmark = [pytest.mark.controlplane, pytest.mark.faults]


def test_a_slow_predictor_delays_ladders_and_moves_nobody(scene: Scene) -> None:
    """It answers rightly, and takes its time. Within the operator's patience a new service comes late; past it a new service waits, with that reason. Who
    serves goes on, and once the predictor is quick again everybody is ready.
    """
    scene.serve("steady")
    scene.await_ready("steady")
    (before,) = scene.stage.pods("steady")
    (port,) = free_ports(1)
    with serve_moody(port) as moody, scene.operator.differently(PREDICTOR_TARGETS=f"127.0.0.1:{port}", PREDICTOR_SLOW_S="0.5", PREDICTOR_TIMEOUT_S="2"):
        moody.delay_s = 0.8
        scene.serve("late")
        scene.await_ready("late")
        scene.await_named("the predictor is slow", "stowplan_operator_predictor_rpc_seconds_count", outcome="ok")
        assert _mean_s(scene, "ok") >= 0.8
        moody.delay_s = 3.0
        scene.serve("waiting")
        scene.await_named("the predictor did not answer", "stowplan_operator_predictor_rpc_seconds_count", outcome="late")
        wait_until(lambda: _reason(scene, "waiting") == "PredictorUnavailable", 0, lambda: scene.stage.tell("waiting"))
        assert scene.stage.pods("waiting") == []
        moody.delay_s = 0.0
        for name in ("waiting", "late", "steady"):
            scene.await_ready(name)
    assert [pod["metadata"]["uid"] for pod in scene.stage.pods("steady")] == [before["metadata"]["uid"]]


def test_a_predictor_that_is_dead_or_talks_rubbish_moves_nobody(scene: Scene) -> None:
    """Nobody answers, then NaN, then a bundle for another runtime: a service that runs keeps its pod, a new one waits with that reason, and is served once
    the predictor is sound.
    """
    (port,) = free_ports(1)
    with scene.operator.differently(PREDICTOR_TARGETS=f"127.0.0.1:{port}", PREDICTOR_TIMEOUT_S="2"):
        scene.serve("steady")
        scene.await_named("the predictor did not answer", "stowplan_operator_predictor_failures_total")
        wait_until(lambda: _reason(scene, "steady") == "PredictorUnavailable", 0, lambda: scene.stage.tell("steady"))
        with serve_moody(port) as moody:
            scene.await_ready("steady")
            (before,) = scene.stage.pods("steady")
            for mood in ("nan", "other runtime"):
                moody.mood = mood
                name = f"during-{mood.replace(' ', '-')}"
                scene.serve(name)
                wait_until(lambda: _reason(scene, name) == "PredictionUnknown", 0, lambda: scene.stage.tell(name))  # noqa: B023
                told = {"condition": "Placeable", "status": "False", "reason": "PredictionUnknown", "service": name}
                scene.await_named('"reason": "PredictionUnknown"', "stowplan_service_condition", 0, **told)
                assert scene.stage.pods(name) == []
                moody.mood = "sound"
                scene.await_ready(name)
            scene.await_ready("steady")
            assert [pod["metadata"]["uid"] for pod in scene.stage.pods("steady")] == [before["metadata"]["uid"]]


def _reason(scene: Scene, name: str) -> str:
    return str((condition_of(scene.stage.service(name), "Placeable") or {}).get("reason", ""))


def _mean_s(scene: Scene, outcome: str) -> float:
    """The mean time of the predictions with that outcome."""
    labels = {"outcome": outcome}
    total_s = scene.operator.metric("stowplan_operator_predictor_rpc_seconds_sum", **labels)
    return total_s / scene.operator.metric("stowplan_operator_predictor_rpc_seconds_count", **labels)

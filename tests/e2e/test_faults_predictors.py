"""The predictor in trouble: dead, hanging, answering rubbish, or another bundle. Nobody is placed on a guess, and everything comes back by itself."""

import itertools

import grpc
import pytest
from controlplane_clusters import free_ports
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet import keys
from support.components import serves
from support.controlplane import node, wait_until
from support.moody_predictors import serve_moody
from support.stages import MODELS, Stage, inference_service
from support.troubles import QUICK, QUICK_CORE, absent, await_named, await_node, by_hand, node_of, stopped

pytestmark = [pytest.mark.controlplane, pytest.mark.faults]
# Requests a second: an answer that is remembered would stand in for a predictor that is gone.
_LOADS = itertools.count(2)


@pytest.fixture
def served(stage: Stage) -> Stage:
    """A stage with a patient service that runs on node `only`, which has room for three more of its servers; of a load about which nobody asked before."""
    stage.add_nodes(node("only", "4", QUICK))
    stage.upload("squeezenet")
    stage.apply(inference_service("patient", "squeezenet", 60_000, next(_LOADS), slice_classes=[QUICK_CORE]))
    stage.await_bound("patient")
    return stage


def test_with_a_dead_predictor_pods_wait_and_go_on_when_it_is_back(served: Stage) -> None:
    """What was never asked cannot be answered: the pod waits, with that reason. A fresh predictor knows no graph; it is pushed again, and the pod is bound."""
    with absent(served.cluster, "predictor"):
        served.apply(by_hand("one-more", "patient"))
        served.await_refusal("patient", "the predictor does not answer")
        await_named(served.extender, "the predictor does not answer", "stowplan_extender_degraded_answers_total", used="unanswered")
        wait_until(lambda: served.extender.metric("stowplan_extender_predictor_up") == 0, 20, "the predictor is down")
        assert node_of(served, "one-more") == ""
    wait_until(lambda: serves(served.predictor_port), 60, "the predictor serves again")
    assert await_node(served, "one-more", 60) == "only"
    wait_until(lambda: served.extender.metric("stowplan_extender_predictor_up") == 1, 20, "the predictor is up")


def test_a_predictor_that_hangs_keeps_nobody_waiting_but_its_own(served: Stage) -> None:
    """It takes connections and answers nothing: each filter still ends within the scheduler's patience, and the pod is bound once it answers again."""
    with stopped(served.cluster, "predictor"):
        served.apply(by_hand("one-more", "patient"))
        served.await_refusal("patient", "the predictor does not answer")
        calls = [call for call in served.wiretap.about(served.namespace, "filter") if call.pod.endswith("/one-more")]
        assert calls[0].answer["Error"] == "the predictor does not answer"
        await_named(served.extender, "using what it said before", "stowplan_extender_predictor_rpc_seconds_count", outcome="unavailable")
    assert await_node(served, "one-more", 60) == "only"


@pytest.mark.parametrize("mood", ["nan", "negative"])
def test_numbers_that_are_no_durations_place_nobody(served: Stage, mood: str) -> None:
    """NaN compares with nothing and minus one is below every objective: both count as unknown, and the service rejects unknown."""
    (port,) = free_ports(1)
    with serve_moody(port) as moody:
        moody.mood = mood
        _teach(served, port)
        with served.extender.differently(PREDICTOR_TARGETS=f"127.0.0.1:{port}", PREDICTOR_REUSE_S="2", WAKE_UPS_EVERY_S="1"):
            served.apply(by_hand("one-more", "patient"))
            served.await_refusal("patient", "PredictionNotFinite")
            await_named(served.extender, "numbers that are no durations", "stowplan_extender_degraded_answers_total", used="not finite")
            assert node_of(served, "one-more") == ""
            moody.mood = "sound"
            assert await_node(served, "one-more") == "only"


def test_another_bundle_is_noticed_and_never_mixed_with_the_one_before(served: Stage) -> None:
    """After a bundle of another version began to answer, nothing that the former one said is used; the pod carries the version that judged it. One for
    another runtime judges nobody.
    """
    (port,) = free_ports(1)
    with serve_moody(port) as moody:
        _teach(served, port)
        with served.extender.differently(PREDICTOR_TARGETS=f"127.0.0.1:{port}", PREDICTOR_REUSE_S="2", WAKE_UPS_EVERY_S="1"):
            served.apply(by_hand("by-the-first", "patient"))
            await_node(served, "by-the-first")
            moody.bundle = "one-stated-law@1"
            served.apply(by_hand("by-the-second", "patient"))
            await_node(served, "by-the-second")
            bundles = {pod["metadata"]["name"]: pod["metadata"]["annotations"].get(keys.BUNDLE_ANNOTATION) for pod in served.pods()}
            assert (bundles["by-the-first"], bundles["by-the-second"]) == ("one-stated-law@0", "one-stated-law@1")
            await_named(served.extender, "another bundle answers", "stowplan_extender_bundle_changes_total")
            moody.mood = "other runtime"
            served.apply(by_hand("by-nobody", "patient"))
            served.await_refusal("patient", "RuntimeNotSupported")
            moody.mood = "sound"
            assert await_node(served, "by-nobody") == "only"


def _teach(stage: Stage, port: int) -> None:
    """The predictor on that port learns the graph of the tests."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = predictor_pb2_grpc.PredictorServiceStub(channel)
        found = stub.AnalyzeGraph(pb.AnalyzeGraphRequest(onnx_model=(MODELS / "squeezenet.onnx").read_bytes()), timeout=30)
    assert found.graph_digest == stage.service("patient")["status"]["model"]["graphDigest"]

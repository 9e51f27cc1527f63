"""The predictor in trouble: dead, hanging, answering rubbish, or another bundle. Nobody is placed on a guess, and everything comes back by itself."""

import asyncio
import dataclasses
import itertools
import signal
import time

import grpc
import pytest
from controlplane_clusters import free_ports
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet import keys
from stowplan_fleet.answers import Basis
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.errors import FleetError
from stowplan_fleet.questions import Question
from support import components
from support.components import serves
from support.controlplane import PATIENCE_S, node, wait_until
from support.moody_predictors import serve_moody
from support.stages import MODELS, RUNTIME, Stage, inference_service
from support.troubles import QUICK, QUICK_CORE, absent, await_event, await_named, await_node, by_hand, node_of, stopped
from support.wiretaps import Call

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
        assert _filters(served, "one-more")[0].answer["Error"] == "the predictor does not answer"
        await_named(served.extender, "using what it said before", "stowplan_extender_predictor_rpc_seconds_count", outcome="late")
    assert await_node(served, "one-more", 60) == "only"


def test_a_slow_predictor_makes_pods_late_and_keeps_none_waiting_for_good(served: Stage) -> None:
    """It answers rightly, and takes its time. Within the extender's patience (1 s) the first filter knows. Past it what it said before counts; about what it
    was never asked the scheduler hears within its own patience (2 s) that nobody answers, and the late answer is there for its next try.
    """
    (port,) = free_ports(1)
    with serve_moody(port) as moody:
        _teach(served, port)
        with served.extender.differently(PREDICTOR_TARGETS=f"127.0.0.1:{port}", PREDICTOR_REUSE_S="3", WAKE_UPS_EVERY_S="1"):
            moody.delay_s = 0.7
            served.apply(by_hand("in-time", "patient"))
            assert await_node(served, "in-time") == "only"
            await_named(served.extender, "the predictor is slow", "stowplan_extender_predictor_rpc_seconds_count", outcome="ok")
            assert served.extender.risen("stowplan_extender_predictor_rpc_seconds_sum", outcome="ok") >= 0.7

            moody.delay_s = 1.6
            served.apply(by_hand("late", "patient"))
            assert await_node(served, "late") == "only"
            first = _filters(served, "late")[0].answer
            assert first["Error"] == "the predictor does not answer"
            await_named(served.extender, "using what it said before", "stowplan_extender_predictor_rpc_seconds_count", outcome="late")
            assert served.extender.risen("stowplan_extender_late_answers_total") > 0
            assert served.extender.risen("stowplan_extender_degraded_answers_total", used="unanswered") > 0
            # The scheduler itself heard the extender's word: it did not run out of patience before.
            await_event(served, "late", "the predictor does not answer")

            served.cluster.kubectl("delete", "pod", "late", "-n", served.namespace, "--grace-period=0", "--force")
            known_since_s = time.monotonic()
            wait_until(lambda: time.monotonic() - known_since_s > 3.5, 0, "answers are too old to be used without asking")
            served.apply(by_hand("as-before", "patient"))
            assert await_node(served, "as-before") == "only"
            assert not _filters(served, "as-before")[0].answer["Error"]
            assert served.extender.risen("stowplan_extender_degraded_answers_total", used="remembered") > 0

            moody.delay_s = 0.0
            served.apply(by_hand("quick-again", "patient"))
            assert await_node(served, "quick-again") == "only"
            assert served.extender.metric("stowplan_extender_predictor_up") == 1


def test_sigterm_under_load_fails_no_request(served: Stage) -> None:
    """Eight clients ask without a pause while one of two predictors is told to end: it says so, every question is answered, by it or by the other one, and it
    ends with status 0.
    """
    usual = components.predictor(served.cluster)
    ending = dataclasses.replace(usual, name="predictor-that-ends", environment={**usual.environment, "STOWPLAN_PREDICTOR_SHUTDOWN_NOTICE_S": "2"})
    ending.start()
    ending.mark()
    try:
        failed, after, status = asyncio.run(_load(served, ending))
        assert failed == []
        assert after >= 100
        assert status == 0
        assert ending.logged('"draining"')
        assert ending.logged('"stopped"')
    finally:
        served.cluster.stop(ending.name, kill=True)


async def _load(stage: Stage, ending: components.Predictor) -> tuple[list[str], int, int]:
    """What failed, how many questions were answered after the process was told to end, and with which status it ended."""
    failed, answered, over = list[str](), 0, asyncio.Event()
    subject = await asyncio.to_thread(stage.occupant, "squeezenet", QUICK_CORE, 1)
    devices = {device.name: device for device in stage.devices.values()}
    targets = [f"127.0.0.1:{port}" for port in (ending.port, stage.predictor_port)]

    async def ask(client: GrpcPredictor, index: int) -> None:
        nonlocal answered
        for turn in itertools.takewhile(lambda _: not over.is_set(), itertools.count()):
            # Never the same question twice: what is remembered is no load.
            question = Question(dataclasses.replace(subject, requests_per_second=0.1 + (turn * 8 + index) * 1e-4))
            try:
                (answer,) = await client.predict([question], devices, RUNTIME)
                if answer.basis is Basis.UNKNOWN:
                    failed.append(f"{answer.unknown_reason}: {answer.message}")
                answered += 1
            except FleetError as error:
                failed.append(str(error))

    async with GrpcPredictor(targets, 60.0) as client, asyncio.TaskGroup() as group:
        await client.analyze((MODELS / "squeezenet.onnx").read_bytes(), {})
        for index in range(8):
            group.create_task(ask(client, index))
        await asyncio.to_thread(wait_until, lambda: answered > 100, 0, "load")
        process = stage.cluster._popen[ending.name]
        process.send_signal(signal.SIGTERM)
        told_at = answered
        await asyncio.to_thread(wait_until, lambda: ending.metric("stowplan_predictor_serving") == 0, 0, "a metric that says it ends")
        status = await asyncio.to_thread(process.wait, PATIENCE_S)
        gone_at = answered
        await asyncio.to_thread(wait_until, lambda: answered > max(gone_at + 50, told_at + 100), 0, "questions answered by the other one")
        over.set()
    return failed, answered - told_at, status


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


def _filters(stage: Stage, pod: str) -> list[Call]:
    return [call for call in stage.wiretap.about(stage.namespace, "filter") if call.pod.endswith(f"/{pod}")]


def _teach(stage: Stage, port: int) -> None:
    """The predictor on that port learns the graph of the tests."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = predictor_pb2_grpc.PredictorServiceStub(channel)
        found = stub.AnalyzeGraph(pb.AnalyzeGraphRequest(onnx_model=(MODELS / "squeezenet.onnx").read_bytes()), timeout=30)
    assert found.graph_digest == stage.service("patient")["status"]["model"]["graphDigest"]

"""The predictor's server: a real gRPC server on loopback, asked through the fleet's client. What answers behind it is told by the test."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.errors import GraphRefused, MessageRefused, PredictorBusy, PredictorUnavailable
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import parse_slice_class
from stowplan_predictor.serving.servers import PredictorServer
from stowplan_predictor.serving.servicers import SERVICE
from stowplan_predictor.serving.settings import Grpc, PredictorSettings, Work
from support.answering import BUNDLE, ToldPipeline, answer_of, told


def question(model: bytes = b"model", rate: float = 1.0) -> Question:
    """A question about a model that `ToldPipeline` analysed."""
    return Question(Occupant(GraphDigest("sha256:" + model.hex()), parse_slice_class("epyc/cpu:1"), rate))


@asynccontextmanager
async def running(pipeline: ToldPipeline | None, work: Work | None = None, **more: object) -> AsyncIterator[PredictorServer]:
    """A server on a free port; one that is still loading where there is no pipeline."""
    settings = PredictorSettings(grpc=Grpc(port=0, **more), work=work or Work())  # type: ignore[arg-type]
    server = PredictorServer(settings)
    await server.start()
    if pipeline is not None:
        await server.open(told(pipeline))
    try:
        yield server
    finally:
        if pipeline is not None and pipeline.hold is not None:
            pipeline.hold.set()
        await server.stop(0, 0)


def client(server: PredictorServer, timeout_s: float = 10.0) -> GrpcPredictor:
    """A client of that server."""
    return GrpcPredictor(f"127.0.0.1:{server.port}", timeout_s)


async def status_of(server: PredictorServer, service: str = "") -> int:
    """What the health service says."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        status: int = response.status
        return status


def sample(server: PredictorServer, figure: str, /, **labels: str) -> float | None:
    """A figure as Prometheus would see it."""
    generate_latest(server.measures.registry)
    return server.measures.registry.get_sample_value(f"stowplan_predictor_{figure}", labels)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that happens in the server's threads."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a figure for Prometheus sets no event
            await asyncio.sleep(0.001)


async def test_a_model_and_questions_go_there_and_answers_come_back() -> None:
    """Analyse, ask, describe: values in, values out, in order, with the bundle's name on each answer."""
    pipeline = ToldPipeline(judge=lambda asked: answer_of(asked.subject.requests_per_second))
    async with running(pipeline) as server, client(server) as predictor:
        summary = await predictor.analyze(b"model", {"x": (1, 3)})
        answers = await predictor.predict([question(rate=2.0), question(b"other"), question(rate=3.0)], {}, "onnxruntime-cpu")

        assert summary.graph_digest == question().subject.graph_digest
        assert [answer.response.median_ms if answer.response else answer.unknown_reason for answer in answers] == [2.0, UnknownReason.GRAPH_NOT_FOUND, 3.0]
        assert {answer.bundle for answer in answers} == {"told@sha256:00"}
        assert await predictor.describe() == BUNDLE
        assert await predictor.describe("onnxruntime-cpu") == BUNDLE


async def test_a_runtime_nobody_serves() -> None:
    """It is an unknown answer to a question, and an error to a description."""
    async with running(ToldPipeline()) as server, client(server) as predictor:
        answers = await predictor.predict([question()], {}, "tensorrt")

        assert answers[0].unknown_reason is UnknownReason.RUNTIME_NOT_SUPPORTED
        with pytest.raises(MessageRefused, match="tensorrt"):
            await predictor.describe("tensorrt")


async def test_refused_graphs_come_back_by_kind() -> None:
    """A broken model and one that is too large are final errors with the reason; the next model is served as if nothing had been."""
    async with running(ToldPipeline(), max_request_bytes=4096) as server, client(server) as predictor:
        with pytest.raises(GraphRefused, match=r"Frobnicate is not known.*7"):
            await predictor.analyze(b"bad", {"x": (7,)})
        with pytest.raises(GraphRefused, match="larger than the predictor accepts"):
            await predictor.analyze(b"large", {})
        with pytest.raises(GraphRefused, match="larger than the predictor accepts"):
            await predictor.analyze(b"x" * 5000, {})
        await predictor.analyze(b"model", {})


async def test_malformed_requests_are_the_callers_fault() -> None:
    """An unreadable question is INVALID_ARGUMENT with its place; so are too many questions and too many inputs."""
    async with running(ToldPipeline(), max_questions=2) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = predictor_pb2_grpc.PredictorServiceStub(channel)
        shapes = {f"i{index}": pb.Shape(dimensions=[1]) for index in range(300)}
        calls = [
            (stub.Predict(pb.PredictRequest(questions=[pb.Question(percentile=0)])), "questions\\[0\\].*percentile"),
            (stub.Predict(pb.PredictRequest(questions=[pb.Question()] * 3)), "at most 2"),
            (stub.AnalyzeGraph(pb.AnalyzeGraphRequest(onnx_model=b"model", input_shapes=shapes)), "at most 256"),
        ]
        for call, words in calls:
            with pytest.raises(grpc.aio.AioRpcError, match=words) as refusal:
                await call
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_failures_inside_stay_inside(caplog: pytest.LogCaptureFixture) -> None:
    """A crash of the pipeline is INTERNAL without its words, which are in the log; the server lives on."""

    def crash(_: Question) -> object:
        raise RuntimeError("secret path /x")

    pipeline = ToldPipeline(judge=crash)  # type: ignore[arg-type]
    async with running(pipeline) as server, client(server) as predictor:
        await predictor.analyze(b"model", {})
        with pytest.raises(PredictorUnavailable) as failure:
            await predictor.predict([question()], {}, "onnxruntime-cpu")
        await predictor.analyze(b"model", {})

    assert "secret" not in str(failure.value)
    assert "secret path /x" in caplog.text


async def test_health_says_not_serving_until_bundles_are_open_and_again_at_the_end() -> None:
    """Overall and for the service by name; a call in between is told to come back."""
    async with running(None) as server:
        assert [await status_of(server, name) for name in ("", SERVICE)] == [health_pb2.HealthCheckResponse.NOT_SERVING] * 2
        assert sample(server, "serving") == 0
        async with client(server) as predictor:
            with pytest.raises(PredictorUnavailable, match="still being loaded"):
                await predictor.predict([question()], {}, "onnxruntime-cpu")
        await server.open(told(ToldPipeline()))
        assert [await status_of(server, name) for name in ("", SERVICE)] == [health_pb2.HealthCheckResponse.SERVING] * 2
        assert sample(server, "serving") == 1
        stopping = asyncio.create_task(server.stop(5, 0))
        await until(lambda: sample(server, "serving") == 0)
        assert await status_of(server, SERVICE) == health_pb2.HealthCheckResponse.NOT_SERVING
        stopping.cancel()


async def test_more_than_fits_is_refused_at_once_and_analyses_go_on() -> None:
    """With one thread and a queue of one the third prediction is told that the server is busy, while an analysis still gets through."""
    pipeline = ToldPipeline(hold=threading.Event())
    async with running(pipeline, Work(predict_threads=1, predict_queue=1)) as server, client(server) as predictor:
        await predictor.analyze(b"model", {})
        first = asyncio.create_task(predictor.predict([question()], {}, "onnxruntime-cpu"))
        await asyncio.to_thread(pipeline.begun.acquire)
        second = asyncio.create_task(predictor.predict([question()], {}, "onnxruntime-cpu"))
        await until(lambda: sample(server, "queue_length", pool="predict") == 1)

        with pytest.raises(PredictorBusy):
            await predictor.predict([question()], {}, "onnxruntime-cpu")
        await predictor.analyze(b"model", {})
        assert pipeline.hold is not None
        pipeline.hold.set()
        assert len(await first) == len(await second) == 1
        assert sample(server, "rpc_seconds_count", method="Predict", code="RESOURCE_EXHAUSTED") == 1


async def test_work_nobody_waits_for_is_not_begun() -> None:
    """A call whose deadline passed in the queue never reaches the pipeline, and its place in the queue is free again."""
    pipeline = ToldPipeline(hold=threading.Event())
    async with running(pipeline, Work(predict_threads=1, predict_queue=1)) as server, client(server) as patient, client(server, 0.2) as hasty:
        await patient.analyze(b"model", {})
        first = asyncio.create_task(patient.predict([question()], {}, "onnxruntime-cpu"))
        await asyncio.to_thread(pipeline.begun.acquire)
        with pytest.raises(PredictorUnavailable, match="DEADLINE_EXCEEDED"):
            await hasty.predict([question()], {}, "onnxruntime-cpu")
        await until(lambda: sample(server, "queue_length", pool="predict") == 0)
        assert pipeline.hold is not None
        pipeline.hold.set()
        await first
        assert not pipeline.begun.acquire(blocking=False)


async def test_the_figures_tell_rate_errors_and_duration() -> None:
    """Calls are counted by method and code, answers by basis, caches by their entries, and the bundle names itself."""
    async with running(ToldPipeline()) as server, client(server) as predictor:
        await predictor.analyze(b"model", {})
        with pytest.raises(GraphRefused):
            await predictor.analyze(b"bad", {})
        await predictor.predict([question(), question(b"other")], {}, "onnxruntime-cpu")

        assert sample(server, "rpc_seconds_count", method="AnalyzeGraph", code="OK") == 1
        assert sample(server, "rpc_seconds_count", method="AnalyzeGraph", code="INVALID_ARGUMENT") == 1
        assert sample(server, "rpc_seconds_count", method="Predict", code="OK") == 1
        assert sample(server, "rpcs_in_progress", method="Predict") == 0
        assert sample(server, "answers_total", basis="measured", unknown_reason="") == 1
        assert sample(server, "answers_total", basis="unknown", unknown_reason="GraphNotFound") == 1
        assert sample(server, "cache_entries", runtime="onnxruntime-cpu", cache="graphs") == 1
        assert sample(server, "bundle_info", runtime="onnxruntime-cpu", name="told", version="sha256:00") == 1


async def test_two_servers_do_not_share_a_port() -> None:
    """The second one fails with an error that names the address, instead of taking every other call."""
    async with running(ToldPipeline()) as server:
        second = PredictorServer(PredictorSettings(grpc=Grpc(port=server.port)))
        with pytest.raises(OSError, match=f"127.0.0.1:{server.port}"):
            await second.start()


@pytest.mark.parametrize("reflection", [True, False])
async def test_methods_are_listed_only_where_that_is_wanted(reflection: bool) -> None:  # noqa: FBT001 - parametrized
    """Reflection is a setting, off by default."""
    async with running(ToldPipeline(), reflection=reflection) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=5)
        if not reflection:
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await call.read()
        else:
            response = await call.read()
            assert SERVICE in {service.name for service in response.list_services_response.service}

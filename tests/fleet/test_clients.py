"""The client of the predictor, against real gRPC servers on loopback that answer as a test tells them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet import clients
from stowplan_fleet.answers import Answer, Basis
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.errors import GraphRefused, MessageRefused, PredictorBusy, PredictorUnavailable
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import parse_slice_class
from support.ports import free_port

Behaviour = Callable[[Any, Any], Awaitable[Any]]
QUESTION = Question(Occupant(GraphDigest("sha256:aa"), parse_slice_class("epyc/cpu:1"), 1.0))


class ScriptedPredictor(predictor_pb2_grpc.PredictorServiceServicer):
    """Does to every request what the test says, and counts."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.calls = 0
        self._behaviour = behaviour

    async def _any(self, request: Any, context: Any) -> Any:
        self.calls += 1
        return await self._behaviour(request, context)

    AnalyzeGraph = Predict = DescribeBundle = _any


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[tuple[str, ScriptedPredictor]]:
    """A server on loopback, and its address."""
    server = grpc.aio.server()
    predictor = ScriptedPredictor(behaviour)
    predictor_pb2_grpc.add_PredictorServiceServicer_to_server(predictor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", predictor
    finally:
        await server.stop(None)


def failing(code: grpc.StatusCode, *metadata: tuple[str, str], details: str = "why") -> Behaviour:
    """A predictor that fails every call."""

    async def fail(_: Any, context: Any) -> None:
        await context.abort(code, details, metadata)

    return fail


async def one_answer(request: pb.PredictRequest, _: Any) -> pb.PredictResponse:
    """A predictor that says unknown to everything."""
    answer = pb.Answer(basis=pb.BASIS_UNKNOWN, unknown_reason=pb.UNKNOWN_REASON_GRAPH_NOT_FOUND)
    return pb.PredictResponse(answers=[answer] * len(request.questions), bundle="b@1")


async def ask(*targets: str, timeout_s: float = 5.0) -> list[Answer]:
    """One question to those targets."""
    async with GrpcPredictor(targets, timeout_s) as predictor:
        return list(await predictor.predict([QUESTION], {}, "onnxruntime-cpu"))


async def analyze(*targets: str, timeout_s: float = 5.0) -> str:
    """One model to those targets."""
    async with GrpcPredictor(targets, timeout_s) as predictor:
        return (await predictor.analyze(b"model", {"x": (1, 3)})).graph_digest


async def test_an_unavailable_predictor_is_asked_once_more() -> None:
    """UNAVAILABLE is tried twice in all, then reported as retryable."""
    async with serving(failing(grpc.StatusCode.UNAVAILABLE)) as (target, predictor):
        with pytest.raises(PredictorUnavailable, match=target):
            await ask(target)

        assert predictor.calls == 2


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_the_second_attempt_goes_elsewhere_and_stays_there(code: grpc.StatusCode) -> None:
    """With another predictor at hand the second attempt asks that one, and so does the next question first: one that is away, or that ends just now."""
    async with serving(failing(code)) as (dead, dead_one), serving(one_answer) as (alive, alive_one):
        async with GrpcPredictor([dead, alive], 5.0) as predictor:
            for _ in range(3):
                assert (await predictor.predict([QUESTION], {}, "r"))[0].basis is Basis.UNKNOWN

        assert (dead_one.calls, alive_one.calls) == (1, 3)


async def test_nobody_there_is_unavailable() -> None:
    """A refused connection is the same retryable error."""
    with pytest.raises(PredictorUnavailable):
        await ask(f"127.0.0.1:{free_port()}")


async def test_a_slow_predictor_is_given_up_at_the_deadline() -> None:
    """The deadline holds, reaches the server, and is not asked for again."""
    seen: list[float] = []

    async def never(_: Any, context: Any) -> None:
        seen.append(context.time_remaining())
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "slow")

    async with serving(never) as (target, predictor):
        with pytest.raises(PredictorUnavailable, match="DEADLINE_EXCEEDED"):
            await ask(target, timeout_s=3.0)

        assert predictor.calls == 1
        # On the wire a timeout of seconds is rounded up to hundredths of one (grpc, timeout_encoding.cc).
        assert 0 < seen[0] <= 3.01


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN])
async def test_other_failures_are_not_repeated(code: grpc.StatusCode) -> None:
    """What failed inside would fail again: one call, one retryable error."""
    async with serving(failing(code)) as (target, predictor):
        with pytest.raises(PredictorUnavailable, match=code.name):
            await ask(target)

        assert predictor.calls == 1


async def test_a_refused_graph_is_final() -> None:
    """INVALID_ARGUMENT of an analysis is the graph's fault, with the server's words."""
    async with serving(failing(grpc.StatusCode.INVALID_ARGUMENT, details="input x: dimension 0 unbound")) as (target, _):
        with pytest.raises(GraphRefused, match="dimension 0 unbound"):
            await analyze(target)
        with pytest.raises(MessageRefused):
            await ask(target)


async def test_busy_and_too_large_are_told_apart() -> None:
    """RESOURCE_EXHAUSTED is retryable when the server says it is busy, and final when the model is too large."""
    busy = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, (clients.RETRY_KEY, clients.RETRY_BUSY))
    async with serving(busy) as (target, _):
        with pytest.raises(PredictorBusy):
            await analyze(target)
        with pytest.raises(PredictorBusy):
            await ask(target)
    async with serving(failing(grpc.StatusCode.RESOURCE_EXHAUSTED)) as (target, _):
        with pytest.raises(GraphRefused, match="stowplan strip"):
            await analyze(target)


async def test_a_model_is_pushed_to_every_predictor() -> None:
    """All targets get the model; one that is down does not spoil it; all down is an error."""

    async def accept(request: pb.AnalyzeGraphRequest, _: Any) -> pb.AnalyzeGraphResponse:
        assert list(request.input_shapes["x"].dimensions) == [1, 3]
        return pb.AnalyzeGraphResponse(graph_digest="sha256:aa")

    down = f"127.0.0.1:{free_port()}"
    async with serving(accept) as (one, first), serving(accept) as (two, second):
        assert await analyze(one, down, two) == "sha256:aa"
        assert (first.calls, second.calls) == (1, 1)
    with pytest.raises(PredictorUnavailable):
        await analyze(down)


async def test_answers_must_match_the_questions() -> None:
    """Too few answers, and answers that cannot be read, are the predictor's failure and not a shifted list."""

    async def none(_: Any, __: Any) -> pb.PredictResponse:
        return pb.PredictResponse()

    async def strange(_: Any, __: Any) -> pb.PredictResponse:
        return pb.PredictResponse(answers=[pb.Answer(basis=99)])  # type: ignore[arg-type]

    for behaviour in (none, strange):
        async with serving(behaviour) as (target, _):
            with pytest.raises(PredictorUnavailable):
                await ask(target)


async def test_no_question_needs_no_predictor() -> None:
    """An empty list is answered without a call."""
    async with GrpcPredictor("127.0.0.1:1", 1.0) as predictor:
        assert list(await predictor.predict([], {}, "r")) == []

"""The predictor over gRPC.

Every call has a deadline, shared by its attempts. Only UNAVAILABLE is tried again, once, at the next target where there is one, and CANCELLED, which is what
a server that ends says to requests that reached it too late (ours alone are cancelled by a task's end, which is no such error): a request that ran into its
deadline or failed inside would do so again. A model is pushed to all targets, because each predictor remembers graphs for itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from stowplan.predictor.v1 import predictor_pb2 as pb

from stowplan_fleet import handshakes
from stowplan_fleet.answers import Answer, UnknownReason
from stowplan_fleet.channels import Channels, ClientIdentity
from stowplan_fleet.codecs.answers import answers_from_message, summary_from_message
from stowplan_fleet.codecs.questions import request_to_message
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import GraphRefused, MessageRefused, PredictorBusy, PredictorLate, PredictorUnavailable
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Question
from stowplan_fleet.slices import DeviceName

logger = logging.getLogger(__name__)
Response = TypeVar("Response")

# Trailing metadata of RESOURCE_EXHAUSTED that tells "too much at once" (`busy`: later helps) from "too large" (it does not).
RETRY_KEY: Final = "stowplan-retry"
RETRY_BUSY: Final = "busy"
# How long to wait then, in milliseconds: gRPC's own spelling (gRFC A6), so that other clients' retry policies heed it too.
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"

# Nothing was done for the request, and another server may.
_ELSEWHERE: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


@dataclass(frozen=True, slots=True)
class BundleDescription:
    """Which bundle answers."""

    name: str
    version: str
    runtime: str
    manifest_json: str


class GrpcPredictor:
    """Implements `predictors.Predictor`. Use within one event loop; `close` it, or use it as an async context manager."""

    def __init__(
        self, targets: Sequence[str] | str, timeout_s: float, identity: ClientIdentity | None = None, server_names: Mapping[str, str] | None = None
    ) -> None:
        """Makes a client; nothing is connected until the first call.

        Args:
            targets: `host:port` of each predictor.
            timeout_s: deadline of a call, attempts together.
            identity: who we are, and whom we trust; None for no TLS.
            server_names: what the certificate of a target must hold, where that is not its host.
        """
        self._targets = (targets,) if isinstance(targets, str) else tuple(targets)
        if not self._targets:
            raise ValueError("name at least one predictor (host:port)")
        self._timeout_s = timeout_s
        self._tls = identity.tls if identity else None
        self._channels = Channels(identity, server_names or {}, timeout_s)
        self._preferred = 0

    @property
    def targets(self) -> tuple[str, ...]:
        """Whom it asks."""
        return self._targets

    async def __aenter__(self) -> "GrpcPredictor":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._channels.close()

    async def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Pushes a model to every target.

        Raises:
            GraphRefused: the file is broken, too large, or holds what nobody can judge.
            PredictorBusy: every target that answered has too much to do.
            PredictorUnavailable: no target answered in time.
        """
        request = pb.AnalyzeGraphRequest(onnx_model=onnx_model, input_shapes={name: pb.Shape(dimensions=shape) for name, shape in input_shapes.items()})
        calls = (self._ask("AnalyzeGraph", request, (target, target)) for target in self._targets)
        results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        # A refusal is about the file, whoever finds it.
        refused = next((failure for failure in failures if not isinstance(failure, PredictorUnavailable)), None)
        if refused is not None:
            raise refused
        for target, result in zip(self._targets, results, strict=True):
            if isinstance(result, BaseException):
                logger.warning("predictor not reached with a graph; it is pushed again when asked for", extra={"target": target, "error": str(result)})
        if len(failures) == len(results):
            raise failures[0]
        return summary_from_message(next(result for result in results if not isinstance(result, BaseException)))

    async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
        """One answer a question, in order.

        Raises:
            MessageRefused: the predictor cannot read a question.
            PredictorUnavailable: nobody answered in time, or what came is no answer.
        """
        if not questions:
            return ()
        response = await self._ask("Predict", request_to_message(questions, devices, runtime), self._attempts())
        try:
            answers = answers_from_message(response)
        except MessageRefused as error:
            raise PredictorUnavailable(f"the predictor answers what this version cannot read: {error}; run equal versions") from error
        if len(answers) != len(questions):
            raise PredictorUnavailable(f"the predictor gave {len(answers)} answers to {len(questions)} questions")
        return answers

    async def anywhere_forgotten(self, question: Question, devices: Mapping[DeviceName, Device], runtime: str) -> bool:
        """Whether a target that answers does not know a graph of the question."""
        request = request_to_message((question,), devices, runtime)
        calls = (self._ask("Predict", request, (target, target)) for target in self._targets)
        results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        for target, result in zip(self._targets, results, strict=True):
            if isinstance(result, BaseException):
                logger.debug("predictor not reached; nothing is known of its graphs", extra={"target": target, "error": str(result)})
            elif any(answer.unknown_reason is UnknownReason.GRAPH_NOT_FOUND for answer in answers_from_message(result)):
                return True
        return False

    async def describe(self, runtime: str = "") -> BundleDescription:
        """Says which bundle answers.

        Raises:
            MessageRefused: no such bundle.
            PredictorUnavailable: nobody answered in time.
        """
        response = await self._ask("DescribeBundle", pb.DescribeBundleRequest(runtime=runtime), self._attempts())
        return BundleDescription(response.name, response.version, response.runtime, response.manifest_json)

    def _attempts(self) -> tuple[str, str]:
        count = len(self._targets)
        return self._targets[self._preferred % count], self._targets[(self._preferred + 1) % count]

    def _method(self, target: str, method: str) -> Callable[..., Awaitable[Any]]:
        call: Callable[..., Awaitable[Any]] = getattr(self._channels.to(target), method)
        return call

    async def _ask(self, method: str, request: object, attempts: tuple[str, str]) -> Any:  # noqa: ANN401 - the method's response message
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        first, second = attempts
        try:
            return await self._method(first, method)(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _ELSEWHERE:
                raise self._refusal(method, first, error) from error
        if second != first:
            self._preferred += 1
        try:
            return await self._method(second, method)(request, timeout=max(0.0, deadline - loop.time()))
        except grpc.aio.AioRpcError as error:
            raise self._refusal(method, second, error) from error

    def _refusal(self, method: str, target: str, error: grpc.aio.AioRpcError) -> Exception:
        code, details = error.code(), error.details() or "no details"
        is_analysis = method == "AnalyzeGraph"
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return GraphRefused(details) if is_analysis else MessageRefused(details)
        if code is grpc.StatusCode.NOT_FOUND and not is_analysis:
            return MessageRefused(details)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            busy = (RETRY_KEY, RETRY_BUSY) in {(key, value) for key, value in (error.trailing_metadata() or ())}
            if is_analysis and not busy:
                return GraphRefused(f"the model is larger than the predictor accepts ({details}); drop its weights with `stowplan strip`")
            return PredictorBusy(f"predictor {target}: {details}")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return PredictorLate(f"predictor {target}: {code.name}: no answer within {self._timeout_s:g} s")
        said = handshakes.explained(details, self._tls, self._channels.expected_name(target))
        return PredictorUnavailable(f"predictor {target}: {code.name}: {said}")

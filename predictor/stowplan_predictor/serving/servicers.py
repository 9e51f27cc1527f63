"""The predictor's RPCs: each decodes, works in a bounded pool, and turns every error into the status that says what the caller can do."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan_fleet import clients
from stowplan_fleet.answers import Answer
from stowplan_fleet.codecs.answers import answer_to_message, summary_to_message
from stowplan_fleet.codecs.questions import request_from_message
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import MessageRefused
from stowplan_fleet.questions import Question
from stowplan_fleet.slices import DeviceName

from stowplan_predictor.errors import BundleNotFound
from stowplan_predictor.serving.admissions import Admissions
from stowplan_predictor.serving.measures import Measures
from stowplan_predictor.serving.pools import BoundedPool, PoolFull
from stowplan_predictor.serving.served import Served
from stowplan_predictor.serving.statuses import StillLoading, status_of
from stowplan_predictor.serving.uploads import taken_apart

logger = logging.getLogger(__name__)
Request = TypeVar("Request", pb.PredictRequest, pb.DescribeBundleRequest)

# Names in one request; a model has a handful of inputs of a handful of dimensions.
_INPUTS_MAX: Final = 256
_RANK_MAX: Final = 64
# A request of this size takes a fraction of a millisecond to read: some ten questions and the devices they are about.
_INSTANT_BYTES: Final = 4096


SERVICE: Final = pb.DESCRIPTOR.services_by_name["PredictorService"].full_name


@dataclass(frozen=True, slots=True)
class Pools:
    """Where the work is done, by kind."""

    predict: BoundedPool
    analyze: BoundedPool

    def waiting(self) -> dict[tuple[str, ...], int]:
        """Pieces of work accepted and not begun, by kind."""
        return {("predict",): self.predict.waiting, ("analyze",): self.analyze.waiting}

    @property
    def accepted(self) -> int:
        """Pieces of work begun or waiting."""
        return self.predict.accepted + self.analyze.accepted

    def close(self) -> None:
        """Drops what has not begun."""
        self.predict.close()
        self.analyze.close()


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    pool: BoundedPool
    request: bytes
    work: Callable[[bytes], bytes]
    """Done in the pool."""
    instantly: Callable[[bytes], bytes | None] | None = None
    """Tried before, in the event loop."""


class PredictorServicer:
    """Answers calls once `open` gave it bundles; UNAVAILABLE before.

    Requests come and responses go as bytes: they are read and written where the work is done, not in the event loop that all calls share.
    """

    def __init__(self, pools: Pools, measures: Measures, max_questions: int, retry_after_ms: int, admissions: Admissions) -> None:
        self._pools = pools
        self._measures = measures
        self._max_questions = max_questions
        self._admissions = admissions
        self._busy = ((clients.RETRY_KEY, clients.RETRY_BUSY), (clients.PUSHBACK_KEY, str(retry_after_ms)))
        self._served: Mapping[str, Served] = {}

    def open(self, served: Mapping[str, Served]) -> None:
        """From now on these answer, by runtime."""
        self._served = dict(served)

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given."""
        methods = {"AnalyzeGraph": self._analyze_graph, "Predict": self._predict, "DescribeBundle": self._describe_bundle}
        return grpc.method_handlers_generic_handler(SERVICE, {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()})

    async def _analyze_graph(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401 - gRPC's context
        """Reads a model file and remembers its graph."""
        return await self._run(_Call("AnalyzeGraph", self._pools.analyze, request, self._analyze), context)

    async def _predict(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401 - as above
        """Answers many questions."""
        recalled = self._recalled if len(request) <= _INSTANT_BYTES else None
        return await self._run(_Call("Predict", self._pools.predict, request, self._answer, recalled), context)

    async def _describe_bundle(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401 - as above
        """Says which bundle answers."""
        return await self._run(_Call("DescribeBundle", self._pools.predict, request, self._describe), context)

    def _analyze(self, raw: bytes) -> bytes:
        model, request = taken_apart(raw)
        if len(request.input_shapes) > _INPUTS_MAX or any(len(shape.dimensions) > _RANK_MAX for shape in request.input_shapes.values()):
            raise MessageRefused(f"input_shapes: name at most {_INPUTS_MAX} inputs of at most {_RANK_MAX} dimensions")
        shapes = {name: tuple(shape.dimensions) for name, shape in request.input_shapes.items()}
        # Fusion depends on the runtime, so every pipeline remembers the graph in its own way; the digest is the same.
        summaries = [served.pipeline.analyze(model, shapes) for served in self._opened().values()]
        return summary_to_message(summaries[0]).SerializeToString()

    def _recalled(self, raw: bytes) -> bytes | None:
        """The response where every answer is remembered: faster given here, in the event loop, than by a thread; None where there is work to do."""
        questions, devices, runtime, served = self._asked(raw)
        answers = served.pipeline.recall(questions, devices, runtime)
        return None if answers is None else self._response(answers, served)

    def _answer(self, raw: bytes) -> bytes:
        questions, devices, runtime, served = self._asked(raw)
        return self._response(served.pipeline.predict(questions, devices, runtime), served)

    def _asked(self, raw: bytes) -> tuple[list[Question], dict[DeviceName, Device], str, Served]:
        request = _parsed(pb.PredictRequest, raw)
        if len(request.questions) > self._max_questions:
            raise MessageRefused(f"{len(request.questions)} questions in one call; ask at most {self._max_questions}")
        opened = self._opened()
        questions, devices, runtime = request_from_message(request)
        # A runtime nobody serves is answered by any pipeline: it says so in each answer.
        return questions, devices, runtime, opened.get(runtime) or next(iter(opened.values()))

    def _response(self, answers: Sequence[Answer], served: Served) -> bytes:
        for (basis, reason), count in Counter((answer.basis, answer.unknown_reason) for answer in answers).items():
            self._measures.answers.labels(basis.value, reason.value if reason else "").inc(count)
        return pb.PredictResponse(answers=[answer_to_message(answer) for answer in answers], bundle=served.label).SerializeToString()

    def _describe(self, raw: bytes) -> bytes:
        request = _parsed(pb.DescribeBundleRequest, raw)
        opened = self._opened()
        if not request.runtime and len(opened) > 1:
            raise MessageRefused(f"there are several bundles, name a runtime: {', '.join(opened)}")
        served = opened.get(request.runtime) if request.runtime else next(iter(opened.values()))
        if served is None:
            raise BundleNotFound(f"no bundle for runtime {request.runtime[:64]!r}; there are: {', '.join(opened)}")
        description = served.description
        return pb.DescribeBundleResponse(
            name=description.name, version=description.version, runtime=description.runtime, manifest_json=description.manifest_json
        ).SerializeToString()

    def _opened(self) -> Mapping[str, Served]:
        if not self._served:
            raise StillLoading("the bundles are still being loaded; ask again")
        return self._served

    async def _run(self, call: _Call, context: Any) -> bytes:  # noqa: ANN401 - gRPC's context
        """The response to a call, or the status that says what the caller can do."""
        method = call.method
        started = time.perf_counter()
        code = grpc.StatusCode.CANCELLED  # what it is when the caller goes away and this coroutine with it
        self._measures.rpcs_in_progress.labels(method).inc()
        try:
            self._admissions.check(context)
            response = call.instantly(call.request) if call.instantly is not None else None
            if response is None:
                response = await call.pool.run(lambda: call.work(call.request), context.time_remaining(), len(call.request))
            code = grpc.StatusCode.OK
        except Exception as error:
            code, details = status_of(error)
            if code is grpc.StatusCode.INTERNAL:
                logger.exception("call failed", extra={"method": method})
            metadata = self._busy if isinstance(error, PoolFull) else ()
            await context.abort(code, details, metadata)
            raise
        else:
            return response
        finally:
            self._measures.rpcs_in_progress.labels(method).dec()
            self._measures.rpc_seconds.labels(method, code.name).observe(time.perf_counter() - started)


def _parsed(kind: type[Request], raw: bytes) -> Request:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise MessageRefused(f"the request cannot be read: {error}") from error

"""The predictor's RPCs: each decodes, works in a bounded pool, and turns every error into the status that says what the caller can do."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet import clients, codecs
from stowplan_fleet.errors import GraphRefused, MessageRefused

from stowplan_predictor.errors import BundleNotFound, GraphTooLarge
from stowplan_predictor.serving.measures import Measures
from stowplan_predictor.serving.pools import BoundedPool, DeadlinePassed, PoolFull
from stowplan_predictor.serving.served import Served

logger = logging.getLogger(__name__)
Response = TypeVar("Response")

# Names in one request; a model has a handful of inputs of a handful of dimensions.
_INPUTS_MAX: Final = 256
_RANK_MAX: Final = 64


class StillLoading(Exception):
    """The bundles are not there yet."""


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


class PredictorServicer(predictor_pb2_grpc.PredictorServiceServicer):
    """Answers calls once `open` gave it bundles; UNAVAILABLE before."""

    def __init__(self, pools: Pools, measures: Measures, max_questions: int) -> None:
        self._pools = pools
        self._measures = measures
        self._max_questions = max_questions
        self._served: Mapping[str, Served] = {}

    def open(self, served: Mapping[str, Served]) -> None:
        """From now on these answer, by runtime."""
        self._served = dict(served)

    async def AnalyzeGraph(self, request: pb.AnalyzeGraphRequest, context: Any) -> pb.AnalyzeGraphResponse:  # noqa: N802, ANN401 - gRPC's names and types
        """Reads a model file and remembers its graph."""
        return await self._call("AnalyzeGraph", context, self._pools.analyze, lambda: self._analyze(request))

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:  # noqa: N802, ANN401 - as above
        """Answers many questions."""
        return await self._call("Predict", context, self._pools.predict, lambda: self._predict(request))

    async def DescribeBundle(self, request: pb.DescribeBundleRequest, context: Any) -> pb.DescribeBundleResponse:  # noqa: N802, ANN401 - as above
        """Says which bundle answers."""
        return await self._call("DescribeBundle", context, self._pools.predict, lambda: self._describe(request))

    def _analyze(self, request: pb.AnalyzeGraphRequest) -> pb.AnalyzeGraphResponse:
        if len(request.input_shapes) > _INPUTS_MAX or any(len(shape.dimensions) > _RANK_MAX for shape in request.input_shapes.values()):
            raise MessageRefused(f"input_shapes: name at most {_INPUTS_MAX} inputs of at most {_RANK_MAX} dimensions")
        shapes = {name: tuple(shape.dimensions) for name, shape in request.input_shapes.items()}
        # Fusion depends on the runtime, so every pipeline remembers the graph in its own way; the digest is the same.
        summaries = [served.pipeline.analyze(request.onnx_model, shapes) for served in self._opened().values()]
        return codecs.summary_to_message(summaries[0])

    def _predict(self, request: pb.PredictRequest) -> pb.PredictResponse:
        if len(request.questions) > self._max_questions:
            raise MessageRefused(f"{len(request.questions)} questions in one call; ask at most {self._max_questions}")
        opened = self._opened()
        questions, devices, runtime = codecs.request_from_message(request)
        # A runtime nobody serves is answered by any pipeline: it says so in each answer.
        served = opened.get(runtime) or next(iter(opened.values()))
        answers = served.pipeline.predict(questions, devices, runtime)
        for answer in answers:
            self._measures.answers.labels(answer.basis.value, answer.unknown_reason.value if answer.unknown_reason else "").inc()
        return pb.PredictResponse(answers=[codecs.answer_to_message(answer) for answer in answers], bundle=served.label)

    def _describe(self, request: pb.DescribeBundleRequest) -> pb.DescribeBundleResponse:
        opened = self._opened()
        if not request.runtime and len(opened) > 1:
            raise MessageRefused(f"there are several bundles, name a runtime: {', '.join(opened)}")
        served = opened.get(request.runtime) if request.runtime else next(iter(opened.values()))
        if served is None:
            raise BundleNotFound(f"no bundle for runtime {request.runtime[:64]!r}; there are: {', '.join(opened)}")
        description = served.description
        return pb.DescribeBundleResponse(
            name=description.name, version=description.version, runtime=description.runtime, manifest_json=description.manifest_json
        )

    def _opened(self) -> Mapping[str, Served]:
        if not self._served:
            raise StillLoading("the bundles are still being loaded; ask again")
        return self._served

    async def _call(self, method: str, context: Any, pool: BoundedPool, work: Callable[[], Response]) -> Response:  # noqa: ANN401 - gRPC's context
        started = time.perf_counter()
        code = grpc.StatusCode.CANCELLED  # what it is when the caller goes away and this coroutine with it
        self._measures.rpcs_in_progress.labels(method).inc()
        try:
            response = await pool.run(work, context.time_remaining())
            code = grpc.StatusCode.OK
        except Exception as error:
            code, details = _status(error)
            if code is grpc.StatusCode.INTERNAL:
                logger.exception("call failed", extra={"method": method})
            metadata = ((clients.RETRY_KEY, clients.RETRY_BUSY),) if isinstance(error, PoolFull) else ()
            await context.abort(code, details, metadata)
            raise
        else:
            return response
        finally:
            self._measures.rpcs_in_progress.labels(method).dec()
            self._measures.rpc_seconds.labels(method, code.name).observe(time.perf_counter() - started)


def _status(error: Exception) -> tuple[grpc.StatusCode, str]:
    # Order matters: a graph that is too large is a refused graph too.
    statuses: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
        (GraphTooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (GraphRefused, grpc.StatusCode.INVALID_ARGUMENT),
        (MessageRefused, grpc.StatusCode.INVALID_ARGUMENT),
        (PoolFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (DeadlinePassed, grpc.StatusCode.DEADLINE_EXCEEDED),
        (StillLoading, grpc.StatusCode.UNAVAILABLE),
        (BundleNotFound, grpc.StatusCode.NOT_FOUND),
    )
    for kind, code in statuses:
        if isinstance(error, kind):
            return code, str(error)[:2048]
    return grpc.StatusCode.INTERNAL, f"the predictor failed ({type(error).__name__}); its log says more"

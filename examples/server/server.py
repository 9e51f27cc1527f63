"""A small model server: one ONNX file behind HTTP, in the V2 inference protocol's JSON form, with its latencies as Prometheus histograms.

It shows what a server behind an InferenceService needs to be, and no more: it works on one request at a time in the order of arrival, with as many threads
as its slice has whole cores. `GET /v2/health/live`, `/v2/health/ready`, `/v2/models/NAME`; `POST /v2/models/NAME/infer`; `GET /metrics`.
Protocol: https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/ (without its binary extension).
"""

# ruff: noqa: INP001 - a program, no package

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.utils import INF

# Names of the protocol (required_api.md, "Tensor Data Types") and ONNX Runtime's.
_TYPES: Final = {
    "tensor(bool)": ("BOOL", np.bool_),
    "tensor(double)": ("FP64", np.float64),
    "tensor(float)": ("FP32", np.float32),
    "tensor(float16)": ("FP16", np.float16),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(uint8)": ("UINT8", np.uint8),
}
# A request's body: a batch of images as JSON takes some megabytes.
_BODY_MAX_BYTES: Final = 64 << 20
# Requests that wait; more are told to come back, because they would miss any objective.
_WAITING_MAX: Final = 64
# From a millisecond to a minute; the objective itself is put among them.
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class RequestRefused(Exception):
    """The request does not fit the model; the message says how."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Read from the environment."""

    model: Path
    name: str
    port: int
    threads: int
    objective_s: float | None
    """Put among the histogram's buckets, so that the share of requests within it can be read off exactly."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """MODEL_FILE, MODEL_NAME, PORT, THREADS, OBJECTIVE_MILLISECONDS; without THREADS, what STOWPLAN_SLICE (`DEVICE/cpu:2`) has."""
        objective = environment.get("OBJECTIVE_MILLISECONDS")
        return cls(
            model=Path(environment.get("MODEL_FILE", "/models/model.onnx")),
            name=environment.get("MODEL_NAME", "model"),
            port=int(environment.get("PORT", "8000")),
            threads=int(environment.get("THREADS") or threads_of(environment.get("STOWPLAN_SLICE", ""))),
            objective_s=float(objective) / 1000 if objective else None,
        )


def threads_of(piece: str) -> int:
    """Threads for a slice: its cores, a started one counted whole; 1 where there is no CPU slice."""
    _, found, profile = piece.rpartition("cpu:")
    if not found:
        return 1
    return math.ceil(int(profile[:-1]) / 1000) if profile.endswith("m") else int(profile)


class Latencies:
    """Where the time of requests goes: waiting and computing, and both with reading and answering."""

    def __init__(self, settings: Settings) -> None:
        """Histograms of their own registry, with the objective among the buckets."""
        self.registry = CollectorRegistry()
        buckets = sorted({*_BUCKETS_S, *((settings.objective_s,) if settings.objective_s else ())})
        parts = {
            "request": "From a request's arrival to its answer.",
            "queue": "What a request waited for those before it.",
            "inference": "What ONNX Runtime took for a request.",
        }
        self._of = {
            part: Histogram(f"model_server_{part}_duration_seconds", says, ["model"], buckets=(*buckets, INF), registry=self.registry).labels(settings.name)
            for part, says in parts.items()
        }

    def observe(self, part: str, seconds: float) -> None:
        """Counts one request."""
        self._of[part].observe(seconds)


class Server:
    """A model, loaded, and the one thread that runs it."""

    def __init__(self, settings: Settings) -> None:
        """Loads the model.

        Raises:
            OSError: its file cannot be read.
            Exception: ONNX Runtime refuses it.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        options.inter_op_num_threads = 1
        # Waiting threads that spin use up a quota that the next request needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(settings.model.read_bytes(), options, providers=["CPUExecutionProvider"])
        self._inputs = {item.name: item for item in self._session.get_inputs()}
        self._outputs = self._session.get_outputs()
        self._runner = ThreadPoolExecutor(1, "inference")
        self._waiting = 0
        self.settings, self.latencies = settings, Latencies(settings)

    def metadata(self) -> dict[str, Any]:
        """The model as the protocol describes it."""
        inputs, outputs = ([_described(item) for item in items] for items in (self._inputs.values(), self._outputs))
        return {"name": self.settings.name, "platform": "onnxruntime", "inputs": inputs, "outputs": outputs}

    async def infer(self, body: bytes) -> dict[str, Any]:
        """Answers one request; in the order of arrival.

        Raises:
            RequestRefused: its tensors do not fit the model.
            web.HTTPServiceUnavailable: too many wait already.
        """
        feeds = self._feeds(body)
        if self._waiting >= _WAITING_MAX:
            raise web.HTTPServiceUnavailable(text=f"{self._waiting} requests wait already", headers={"Retry-After": "1"})
        self._waiting += 1
        try:
            arrays = await asyncio.get_running_loop().run_in_executor(self._runner, self._run, feeds, time.perf_counter())
        finally:
            self._waiting -= 1
        answers = zip(self._outputs, arrays, strict=True)
        outputs = [{"name": item.name, "datatype": _TYPES[item.type][0], "shape": list(array.shape), "data": array.ravel().tolist()} for item, array in answers]
        return {"model_name": self.settings.name, "outputs": outputs}

    def _run(self, feeds: dict[str, Any], asked: float) -> list[Any]:
        started = time.perf_counter()
        self.latencies.observe("queue", started - asked)
        try:
            arrays: list[Any] = self._session.run(None, feeds)
        except Exception as error:
            # Its own exceptions share no base class; what fails here are shapes that no declaration names.
            raise RequestRefused(f"the model does not take these inputs: {str(error)[:500]}") from error
        self.latencies.observe("inference", time.perf_counter() - started)
        return arrays

    def _feeds(self, body: bytes) -> dict[str, Any]:
        try:
            given = {str(item["name"]): dict(item) for item in json.loads(body)["inputs"]}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RequestRefused('the body is not {"inputs": [{"name", "shape", "datatype", "data"}, …]}') from error
        if given.keys() != self._inputs.keys():
            raise RequestRefused(f"inputs are {sorted(given)}, and the model takes {sorted(self._inputs)}")
        return {name: _array(item, given[name]) for name, item in self._inputs.items()}


def _described(item: Any) -> dict[str, Any]:  # noqa: ANN401 -- ONNX Runtime is not typed
    datatype = _TYPES[item.type][0] if item.type in _TYPES else item.type
    return {"name": item.name, "datatype": datatype, "shape": [size if isinstance(size, int) else -1 for size in item.shape]}


def _array(wanted: Any, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- numpy and ONNX Runtime are not typed here
    datatype, kind = _TYPES.get(wanted.type, (None, None))
    if given.get("datatype") != datatype:
        raise RequestRefused(f"input {wanted.name} has the datatype {given.get('datatype')}, and the model takes {datatype or wanted.type}")
    try:
        array = np.asarray(given["data"], kind).reshape(given["shape"])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise RequestRefused(f"input {wanted.name}: {error}") from error
    declared = wanted.shape
    if len(declared) != array.ndim or any(isinstance(size, int) and size != found for size, found in zip(declared, array.shape, strict=True)):
        raise RequestRefused(f"input {wanted.name} has the shape {list(array.shape)}, and the model takes {declared}")
    return array


def application(server: Server) -> web.Application:
    """The HTTP side."""
    path = f"/v2/models/{server.settings.name}"

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def metadata(_: web.Request) -> web.Response:
        return web.json_response(server.metadata())

    async def infer(request: web.Request) -> web.Response:
        started = time.perf_counter()
        answer = web.json_response(await server.infer(await request.read()))
        server.latencies.observe("request", time.perf_counter() - started)
        return answer

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(server.latencies.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=_BODY_MAX_BYTES, middlewares=[_refusals])
    app.add_routes([web.get("/v2/health/live", live), web.get("/v2/health/ready", ready), web.get("/metrics", metrics)])
    app.add_routes([web.get(path, metadata), web.post(f"{path}/infer", infer)])
    return app


@web.middleware
async def _refusals(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        return await handler(request)
    except RequestRefused as refused:
        return web.json_response({"error": str(refused)}, status=400)


def main() -> int:
    """Serves until it is told to stop; requests in progress are answered first."""
    try:
        server = Server(Settings.read(os.environ))
    except Exception as error:  # noqa: BLE001 -- ONNX Runtime's exceptions share no base class
        sys.stderr.write(f"the server cannot start: {error}\n")
        return 1
    sys.stderr.write(f"serving {server.settings.name} on port {server.settings.port} with {server.settings.threads} threads\n")
    web.run_app(application(server), port=server.settings.port, print=None, shutdown_timeout=10)
    return 0


if __name__ == "__main__":
    sys.exit(main())

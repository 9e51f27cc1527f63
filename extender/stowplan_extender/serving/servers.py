"""The HTTP side: the scheduler's verbs on one port, health and metrics on another.

The scheduler takes any status but 200 for a failure without a reason, so everything is answered 200, and errors stand in `Error`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from stowplan_fleet.errors import FleetError

from stowplan_extender import wire
from stowplan_extender.cluster.feeds import Feeds
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.errors import ExtenderError, NotYet, PodRefused, RequestRefused
from stowplan_extender.judging.probes import PredictorProbe
from stowplan_extender.metrics import Metrics
from stowplan_extender.serving.verbs import Verbs
from stowplan_extender.wire import ExtenderBindingResult, ExtenderFilterResult

_log = logging.getLogger(__name__)

# The names of 5,000 nodes are a quarter of it.
_BUFFER_BYTES: Final = 1 << 20
_JSON: Final = {"Content-Type": "application/json"}

Handle = Callable[[bytes | None], Awaitable[bytes]]
"""From a request's body, None where it was larger than allowed, to the answer's, JSON both. Raises nothing."""


class Farewell:
    """Whether clients are told to go: from then on each answer is the last one on its connection."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """From now on."""
        self.begun = True


def scheduler_server(verbs: Verbs, metrics: Metrics, body_bytes_max: int, farewell: Farewell | None = None) -> web.Server:
    """What kube-scheduler talks to: POST /filter, /prioritize, /bind.

    aiohttp's server without its framework: an application's routes, signals and middlewares cost as much again for each request as the server itself.
    """
    handles, leaving = _scheduler_handles(verbs, metrics), farewell or Farewell()

    async def handle(request: web.BaseRequest) -> web.Response:
        answer = handles.get(request.path)
        if answer is None or request.method != "POST":
            return web.Response(status=404 if answer is None else 405, text="POST /filter, /prioritize and /bind are answered here")
        try:
            body: bytes | None = await request.read()
        except web.HTTPRequestEntityTooLarge:
            body = None
        response = web.Response(body=await answer(body), headers=_JSON)
        if leaving.begun:
            response.force_close()
        return response

    loop = asyncio.get_running_loop()

    def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:  # noqa: ANN401 -- the server's own, handed through
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=body_bytes_max)

    # A request that fits the buffer is read without stopping its sender.
    return web.Server(handle, request_factory=request, access_log=None, read_bufsize=_BUFFER_BYTES)


def _scheduler_handles(verbs: Verbs, metrics: Metrics) -> Mapping[str, Handle]:

    async def filter_(body: bytes) -> bytes:
        return wire.write(await verbs.filter(wire.read_args(body)))

    async def prioritize(body: bytes) -> bytes:
        return wire.write(await verbs.prioritize(wire.read_args(body)))

    async def bind(body: bytes) -> bytes:
        await verbs.bind(wire.read_binding_args(body))
        return wire.write(ExtenderBindingResult())

    return {
        "/filter": _handle("filter", filter_, lambda error: wire.write(ExtenderFilterResult(error=error)), metrics),
        # There is no field for an error: without scores the scheduler goes by its own.
        "/prioritize": _handle("prioritize", prioritize, lambda _: wire.write([]), metrics),
        "/bind": _handle("bind", bind, lambda error: wire.write(ExtenderBindingResult(error=error)), metrics),
    }


def health_app(view: ClusterView, feeds: Feeds, probe: PredictorProbe, metrics: Metrics) -> web.Application:
    """What kubelets and Prometheus talk to: GET /healthz, /readyz, /metrics."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        # A predictor that went away later does not make us unready: known predictions and the services' own policies carry on.
        try:
            feeds.check()
        except NotYet as error:
            return web.Response(status=503, text=str(error))
        if not probe.reached.is_set():
            return web.Response(status=503, text="the predictor was never reached")
        return web.Response(text="ok" if probe.up else "ok, but the predictor is away")

    async def metrics_(_: web.Request) -> web.Response:
        feeds.measure()
        for kind, size in view.sizes().items():
            metrics.view_objects.labels(kind).set(size)
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics_)])
    return app


def _handle(verb: str, answer: Callable[[bytes], Awaitable[bytes]], failed: Callable[[str], bytes], metrics: Metrics) -> Handle:
    # Told as zero from the start: a counter that first appears with its first bug has risen by nothing (the alert asks for what it rose by).
    metrics.request_seconds.labels(verb, "bug")

    async def handle(request: bytes | None) -> bytes:
        started = time.perf_counter()
        outcome, body = await _attempt(verb, request, answer, failed, metrics)
        metrics.request_seconds.labels(verb, outcome).observe(time.perf_counter() - started)
        if verb == "bind":
            metrics.bindings.labels(outcome).inc()
        return body

    return handle


async def _attempt(
    verb: str, request: bytes | None, answer: Callable[[bytes], Awaitable[bytes]], failed: Callable[[str], bytes], metrics: Metrics
) -> tuple[str, bytes]:
    try:
        if request is None:
            raise RequestRefused("the request is too large; raise serving.body_bytes_max")
        return "ok", await answer(request)
    except (ExtenderError, FleetError) as error:
        outcome = "refused" if isinstance(error, (PodRefused, RequestRefused)) else "retry" if isinstance(error, NotYet) else "error"
        metrics.refusals.labels(verb, type(error).__name__).inc()
        _log.warning("cannot answer", extra={"verb": verb, "outcome": outcome, "cause": type(error).__name__, "error": str(error)})
        return outcome, failed(str(error))
    except Exception as error:  # noqa: BLE001 - the one place where a bug meets the scheduler
        # A bug of ours must not read as "no node fits": the scheduler shall see an error, and the log shall say which.
        _log.exception("failed", extra={"verb": verb})
        return "bug", failed(f"the extender failed: {type(error).__name__}; its log says more")

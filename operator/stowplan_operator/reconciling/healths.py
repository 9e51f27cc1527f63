"""Health and metrics over HTTP, each on a port of its own: probes ask one, Prometheus the other."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from stowplan_operator.settings import ServingSettings


@asynccontextmanager
async def serving(settings: ServingSettings, registry: CollectorRegistry, is_ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Serves `/healthz`, `/readyz` and `/metrics` while inside."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")  # that the event loop answers is what is asked

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if is_ready() else web.Response(status=503, text="the watches do not run yet\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    health_app, metrics_app = web.Application(), web.Application()
    health_app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    metrics_app.add_routes([web.get("/metrics", metrics)])
    runners = [web.AppRunner(health_app, access_log=None), web.AppRunner(metrics_app, access_log=None)]
    try:
        for runner, port in zip(runners, (settings.health_port, settings.metrics_port), strict=True):
            await runner.setup()
            await web.TCPSite(runner, settings.host, port).start()
        yield
    finally:
        for runner in runners:
            await runner.cleanup()

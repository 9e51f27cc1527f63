"""The process: puts the parts together, runs them, and ends them in order."""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from stowplan_fleet import channels, heaps
from stowplan_fleet.clients import GrpcPredictor

from stowplan_extender.apiserver import credentials
from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.apiserver.podcalls import HttpPodCalls
from stowplan_extender.binding.backlogs import Backlog
from stowplan_extender.binding.bindings import Binder
from stowplan_extender.binding.leaderships import AlwaysLeading, Leadership, LeaseLeadership
from stowplan_extender.binding.upkeeps import Upkeep
from stowplan_extender.binding.wakeups import WakeUps
from stowplan_extender.clocks import ClockWatch
from stowplan_extender.cluster.feeds import Feeds
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.judging.judgements import Judge
from stowplan_extender.judging.predictions import Predictions
from stowplan_extender.judging.probes import PredictorProbe
from stowplan_extender.metrics import Metrics
from stowplan_extender.recording.recorders import Recorder
from stowplan_extender.serving import listeners, servers
from stowplan_extender.serving.servers import Farewell
from stowplan_extender.serving.verbs import Verbs
from stowplan_extender.settings import ExtenderSettings

_log = logging.getLogger(__name__)
# Between two looks whether anybody is connected still; at both nobody must be, for one may be on its way from the socket's queue.
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running extender listens; ports are those really bound."""

    scheduler: str
    health: str
    drain: Callable[[], Coroutine[None, None, None]]
    """To be awaited before the end: lets clients go, one answer at a time."""


async def run(settings: ExtenderSettings) -> None:
    """Runs until SIGTERM or SIGINT; a second signal ends the process at once.

    Raises:
        ConfigurationRefused: no usable credentials for the API server.
        CertificateRefused: no usable ones for the predictor.
        OSError: a port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        _log.info("stopping")
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with await credentials.connect(settings.api) as connection, running(settings, connection, on_synced=heaps.settle) as addresses:
        _log.info("serving", extra={"scheduler": addresses.scheduler, "health": addresses.health})
        await stop.wait()
        await addresses.drain()


@asynccontextmanager
async def running(settings: ExtenderSettings, connection: ApiConnection, on_synced: Callable[[], None] = lambda: None) -> AsyncIterator[Addresses]:
    """A whole extender on an open connection; leaving the context lets running requests end, then stops everything.

    `on_synced` is called once, when the view was listed.
    """

    async def when_synced() -> None:
        await feeds.synced()
        wake_ups.adopt()
        on_synced()

    clock = time.monotonic
    metrics = Metrics()
    view = ClusterView(clock, settings.placement.reservation_s)
    identity = channels.identity(settings.predictor.tls, metrics.certificates)
    async with GrpcPredictor(settings.predictor.targets, settings.predictor.late_s, identity) as predictor:
        predictions = Predictions(predictor, view.devices.find, settings.predictor, clock, metrics)
        recorder = Recorder(settings.recording, view.devices.find, metrics) if settings.recording.directory else None
        judge = Judge(view, predictions, settings.predictor.reuse_s, clock, grounds=recorder is not None)
        leadership: Leadership = AlwaysLeading(metrics)
        if settings.lease.name:
            leadership = LeaseLeadership(connection, settings.lease, settings.api.binding_timeout_s, clock, metrics)
        feeds = Feeds(view, connection=connection, settings=settings.api, metrics=metrics, clock=clock, device_changed=predictions.forget_device)
        probe = PredictorProbe(predictor.describe, settings.predictor.probe_s, settings.predictor.timeout_s, metrics)
        calls = HttpPodCalls(connection, settings.api)
        binder = Binder(view, judge, calls, leadership, metrics=metrics, recorder=recorder)
        wake_ups = WakeUps(view, judge, calls, leadership, settings=settings.wake_ups, clock=clock, metrics=metrics)
        upkeep = Upkeep(view, calls, settings.placement.confirm_s, feeds.renew_pods, metrics)
        place = settings.placement
        backlog = Backlog(place.bindings_at_once, place.backlog_s, metrics)
        heard = wake_ups.filtered
        verbs = Verbs(view, judge, binder, feeds.check, best_k=place.best_k, metrics=metrics, filtered=heard, recorder=recorder, backlog=backlog)
        serve = settings.serving
        farewell = Farewell()
        apps = (
            web.AppRunner(servers.health_app(view, feeds, probe, metrics), access_log=None, shutdown_timeout=serve.drain_s),
            web.ServerRunner(servers.scheduler_server(verbs, metrics, serve.body_bytes_max, farewell), shutdown_timeout=serve.drain_s),
        )

        async def drain() -> None:
            farewell.begin()
            await asyncio.sleep(serve.farewell_s)
            listeners.deafen(scheduler.listener)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(serve.drain_s):
                    await scheduler.emptied()

        async with (
            _background(feeds.run(), probe.run(), wake_ups.run(), upkeep.run(), leadership.follow(), ClockWatch(metrics.clock_jumps).run(), when_synced()),
            _site(apps[0], serve.health_host, serve.health_port) as health,
            _site(apps[1], serve.host, serve.port) as scheduler,
        ):
            yield Addresses(scheduler.url, health.url, drain)


@asynccontextmanager
async def _background(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work that goes on beside; should any of it fail, the process ends, for a view that nobody feeds is worse than none."""
    tasks = [asyncio.create_task(work) for work in works]
    owner = asyncio.current_task()

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None and owner is not None:
            _log.error("background work failed", exc_info=task.exception())
            owner.cancel()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.remove_done_callback(ended)
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@dataclass(frozen=True, slots=True)
class _Site:
    url: str
    listener: socket.socket
    runner: web.BaseRunner

    async def emptied(self) -> None:
        """Returns once nobody is connected any more."""
        quiet = 0
        while quiet < 2:
            await asyncio.sleep(_LOOK_S)
            server = self.runner.server
            quiet = quiet + 1 if server is None or not server.connections else 0


@asynccontextmanager
async def _site(runner: web.BaseRunner, host: str, port: int) -> AsyncIterator[_Site]:
    listener = listeners.listen(host, port)
    try:
        await runner.setup()
        await web.SockSite(runner, listener).start()
        address = listener.getsockname()
        yield _Site(f"http://{address[0]}:{address[1]}", listener, runner)
    finally:
        # The server closes the socket when it stops; one that never started does not.
        await runner.cleanup()
        listener.close()

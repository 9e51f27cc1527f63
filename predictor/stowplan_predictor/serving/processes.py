"""The predictor's process from its first to its last breath: listen, load, warm, serve, drain."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server
from stowplan_fleet import heaps

from stowplan_predictor.pipelines.analyses import reading_here
from stowplan_predictor.serving import served as bundles
from stowplan_predictor.serving.readers import Readers
from stowplan_predictor.serving.served import Served
from stowplan_predictor.serving.servers import PredictorServer
from stowplan_predictor.serving.settings import PredictorSettings, Shutdown

logger = logging.getLogger(__name__)

Load = Callable[[], Mapping[str, Served]]


async def run(settings: PredictorSettings, load: Load | None = None) -> int:
    """Serves until SIGTERM or SIGINT; a second signal ends the process at once.

    Args:
        settings: of the process.
        load: where bundles come from; when None those of the settings, with processes of their own to read model files.

    Returns:
        How many pieces of work still run in threads, past their grace: the interpreter would wait for them.

    Raises:
        BundleError: a bundle is missing or was altered.
        CertificateRefused: the files of TLS hold what cannot be used.
        OSError: an address cannot be used.
    """
    stopping = asyncio.Event()
    _on_signals(stopping)
    server = PredictorServer(settings)
    readers = Readers(settings.analysis, settings.work.analyze_threads) if load is None else None
    http, thread = start_http_server(settings.metrics.port, settings.metrics.host, server.measures.registry)
    try:
        await server.start()
        logger.info("listening", extra=server.ports | {"metrics_port": http.server_port})
        await _serve(
            server,
            load or (lambda: bundles.load(settings.bundles, readers.cutting_by if readers else reading_here, settings.caches)),
            stopping,
            settings.shutdown,
        )
    finally:
        if readers is not None:
            readers.close()
        _close(http, thread)
    logger.info("stopped", extra={"unfinished": server.unfinished})
    return server.unfinished


async def _serve(server: PredictorServer, load: Load, stopping: asyncio.Event, shutdown: Shutdown) -> None:
    opened = False
    try:
        opened = await _open(server, load, stopping)
        if opened:
            heaps.settle()
            logger.info("serving")
            await stopping.wait()
    finally:
        # Nobody who was never told "serving" has to be told that it is over.
        notice_s = shutdown.notice_s if opened else 0.0
        logger.info("draining", extra={"notice_s": notice_s, "grace_s": shutdown.grace_s})
        await server.stop(notice_s, shutdown.grace_s)


async def _open(server: PredictorServer, load: Load, stopping: asyncio.Event) -> bool:
    """Loads in a thread, so that health checks are answered meanwhile; False where the end came first."""
    loading = asyncio.create_task(asyncio.to_thread(load))
    waiting = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({loading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            return False
        await server.open(loading.result())
        return True
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting


def _on_signals(stopping: asyncio.Event) -> None:
    def received(number: signal.Signals) -> None:
        if stopping.is_set():
            # Whoever signals twice wants no farewell; 128 + n is the shell's status for death by signal n.
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, received, number)


def _close(http: WSGIServer, thread: Thread) -> None:
    http.shutdown()
    http.server_close()
    thread.join()

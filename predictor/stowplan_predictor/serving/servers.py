"""The predictor's server: its ports, who is answered on them, and what stands behind."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import grpc.aio
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from stowplan_predictor.serving import healths
from stowplan_predictor.serving.admissions import Admissions
from stowplan_predictor.serving.handshakes import Handshakes
from stowplan_predictor.serving.healths import Healths
from stowplan_predictor.serving.measures import Measures
from stowplan_predictor.serving.pools import BoundedPool
from stowplan_predictor.serving.served import Served
from stowplan_predictor.serving.servicers import SERVICE, Pools, PredictorServicer
from stowplan_predictor.serving.settings import PredictorSettings


class PredictorServer:
    """The gRPC server with its health. Used within one event loop: `start`, `open` when there are bundles, `stop`."""

    def __init__(self, settings: PredictorSettings, measures: Measures | None = None) -> None:
        """Reads the certificates, where there are to be some.

        Raises:
            CertificateRefused: their files hold what cannot be used.
        """
        self._settings = settings
        self.measures = measures or Measures()
        work = settings.work
        self._pools = Pools(
            predict=BoundedPool("predict", work.predict_threads, work.predict_queue),
            analyze=BoundedPool("analyze", work.analyze_threads, work.analyze_queue, work.analyze_queue_bytes),
        )
        self.measures.watch("queue_length", "Calls accepted and not begun.", ("pool",), self._pools.waiting)
        self.measures.watch("cache_entries", "Entries of the caches by content.", ("runtime", "cache"), self._cache_entries)
        self.measures.watch("cache_bytes", "About how much memory the caches take.", ("runtime", "cache"), self._cache_bytes)
        self._served: Mapping[str, Served] = {}
        self._servicer = PredictorServicer(self._pools, self.measures, settings.grpc.max_questions, work.retry_after_ms, Admissions(settings.tls.client_names))
        self._healths = Healths(settings.health)
        self._handshakes = Handshakes(settings.tls, self.measures.certificates) if settings.tls.enabled else None
        self._following: asyncio.Task[None] | None = None
        self._server: Any = None
        self.port = 0

    async def start(self) -> None:
        """Listens; every health check says NOT_SERVING until `open`.

        Raises:
            OSError: the address cannot be used.
        """
        limit = self._settings.grpc.max_request_bytes
        # Without SO_REUSEPORT a second process on the same port fails instead of taking every other call.
        options = [
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", self._settings.grpc.max_calls_per_connection),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self._servicer.handler(),))
        self._healths.join(self._server)
        if self._settings.grpc.reflection:
            reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        await self._say(serving=False)
        credentials = self._handshakes.credentials if self._handshakes else None
        self.port = healths.listen(self._server, self._settings.grpc.host, self._settings.grpc.port, credentials)
        await self._server.start()
        await self._healths.start()
        if self._handshakes is not None:
            self._following = asyncio.create_task(self._handshakes.follow())

    async def open(self, served: Mapping[str, Served]) -> None:
        """Answers with these bundles from now on."""
        self._served = dict(served)
        self._servicer.open(served)
        for one in served.values():
            description = one.description
            self.measures.bundle_info.labels(description.runtime, description.name, description.version).set(1)
        await self._say(serving=True)

    async def stop(self, notice_s: float, grace_s: float) -> None:
        """Says NOT_SERVING, waits until callers noticed, lets what is under way end, and closes."""
        self.measures.serving.set(0)
        await self._healths.leave()
        await asyncio.sleep(notice_s)
        await self._server.stop(grace_s)
        await self._healths.stop()
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        self._pools.close()

    @property
    def unfinished(self) -> int:
        """Pieces of work that still run though nobody waits for them."""
        return self._pools.accepted

    def _cache_entries(self) -> dict[tuple[str, ...], int]:
        return {(runtime, cache): count for runtime, one in self._served.items() for cache, count in one.pipeline.cache_entries.items()}

    def _cache_bytes(self) -> dict[tuple[str, ...], int]:
        return {(runtime, cache): size for runtime, one in self._served.items() for cache, size in one.pipeline.cache_bytes.items()}

    @property
    def ports(self) -> dict[str, object]:
        """Where it listens, for a line of the log."""
        return {"grpc_port": self.port, "health_port": self._healths.port, "tls": self._settings.tls.enabled}

    async def _say(self, *, serving: bool) -> None:
        self.measures.serving.set(int(serving))
        await self._healths.say(serving=serving)

"""Streams: what kopf's watches go through on their way to it.

kopf resumes a watch that broke off where it was, and begins a silent one anew (`idle_s`), and says neither. So its connections are made here: each watch's body
is passed on in whole lines only (half an event would end the watches of all kinds, for kopf reads it as JSON), and what went wrong with it is counted and said.
Objects that are larger than usual are named on the way.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import kopf
from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.objects import WatchEnvelope
from stowplan_fleet.sizes import LargeObjects

from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.settings import ApiSettings

logger = logging.getLogger(__name__)
# kopf's patience begins a moment before the answer does, and whoever is told to stop at that very moment is no silent watch.
_NEARLY: Final = 0.95
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Listener:
    """Tells what becomes of watches."""

    metrics: Metrics
    large: LargeObjects
    idle_s: float

    @classmethod
    def made(cls, settings: ApiSettings, metrics: Metrics) -> "Listener":
        """One for an operator."""
        return cls(metrics, LargeObjects(settings.large_object_bytes, metrics.large_objects), settings.idle_s)

    def broken(self, resource: str, how: str, why: str) -> None:
        """A watch is over before the API server ended it: `torn`, `lost` or `silent`."""
        self.metrics.watches_broken.labels(resource, how).inc()
        logger.warning("a watch broke off; it is begun anew where it was", extra={"resource": resource, "how": how, "error": why})

    def event(self, resource: str, line: bytes) -> None:
        """A whole line passed by."""
        if len(line) < self.large.bytes_min:
            return
        try:
            self.large.see(resource, decoding.from_json(line, WatchEnvelope).object)
        except ManifestRefused:
            self.large.see(resource, line)


class WholeLines:
    """A body of which only whole lines arrive; everything else about it is as it was."""

    def __init__(self, response: aiohttp.ClientResponse, listener: Listener, clock: Callable[[], float]) -> None:
        """Takes the body of an answer that began; `clock` counts monotonic seconds."""
        self._content, self._resource = response.content, response.url.path.rpartition("/")[2]
        self._response, self._listener, self._clock = response, listener, clock

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the body has
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Pieces that end with a line, `size` bytes of the connection's at a time."""
        pieces: list[bytes] = []
        heard_at_s = self._clock()
        try:
            async for chunk in self._content.iter_chunked(size):
                heard_at_s = self._clock()
                head, separator, rest = chunk.rpartition(b"\n")
                if separator:
                    whole, pieces = b"".join([*pieces, head, separator]), []
                    for line in whole.split(b"\n"):
                        self._listener.event(self._resource, line)
                    yield whole
                pieces += [rest] if rest else []
        except (aiohttp.ClientError, OSError) as error:
            # kopf itself closes what runs on credentials that ended; that is nobody's fault.
            if not self._response.closed:
                self._listener.broken(self._resource, "torn" if pieces else "lost", f"{type(error).__name__}: {error}")
            raise
        except (asyncio.CancelledError, GeneratorExit):
            silent_s = self._clock() - heard_at_s
            if silent_s >= _NEARLY * self._listener.idle_s:
                self._listener.broken(self._resource, "silent", f"nothing was heard for {silent_s:.1f} s")
            raise
        if pieces:
            self._listener.broken(self._resource, "torn", "the answer ended in the middle of a line")


class Connections(kopf.AiohttpSession):
    """Credentials from which kopf takes a session of connections whenever it needs one, each a new one, as it makes them itself from a `ConnectionInfo`.

    It closes one when credentials end or the watches do, and asks for the next while some of its tasks are still at work: given the closed one again, they
    would wait for a login that nobody does any more, and with them the end of the watches.
    """

    def __init__(self, info: kopf.ConnectionInfo, listener: Listener) -> None:
        """Opens nothing yet."""
        for name, value in (("server", info.server), ("priority", info.priority), ("default_namespace", info.default_namespace)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "expiration", info.expiration)
        object.__setattr__(self, "_parts", (info, listener))

    # Neither may ask for a session.
    __eq__ = object.__eq__
    __hash__ = object.__hash__
    __repr__ = object.__repr__

    @property
    def aiohttp_session(self) -> aiohttp.ClientSession:
        """A new one; whoever takes it closes it."""
        info, listener = self._parts  # type: ignore[attr-defined]
        return _session(info, listener)


def _session(info: kopf.ConnectionInfo, listener: Listener) -> aiohttp.ClientSession:
    clock = asyncio.get_running_loop().time

    class Response(aiohttp.ClientResponse):
        async def start(self, connection: Any) -> aiohttp.ClientResponse:  # noqa: ANN401 -- the library's own, handed through
            await super().start(connection)
            if self.url.query.get("watch") and self.status == _OK:
                self.content = WholeLines(self, listener, clock)  # type: ignore[assignment]
            return self

    secure = info.server.startswith("https://")
    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()) if secure else aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(connector=connector, headers=info.as_http_headers(), trust_env=info.trust_env, response_class=Response)

"""The connection to the API server: requests and streams over aiohttp, credentials from elsewhere (`credentials`)."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.connector import AddrInfoType
from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.objects import StatusError

from stowplan_extender.errors import ApiRefused, ApiUnreachable

# How much of an error's text is kept where it is no Status object: enough to tell a proxy's page from an API server's answer.
_TEXT_MAX: Final = 256

# Asked after 10 s of silence, every 5 s, given up after 4 without an answer (seconds, count), and what was sent unacknowledged for 30 s (milliseconds).
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}

Headers = Callable[[], Awaitable[Mapping[str, str]]]


async def _no_headers() -> Mapping[str, str]:
    return {}


class ApiConnection:
    """One pool of connections to one API server."""

    def __init__(self, server: str, tls: ssl.SSLContext | None = None, headers: Headers = _no_headers) -> None:
        """Opens nothing yet.

        Args:
            server: base URL.
            tls: for https.
            headers: gives the authorization for each request, as tokens are renewed while we run.
        """
        self._server = server.rstrip("/")
        self._tls = tls
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Opens the pool. Watches hold a connection each, so there is no limit on their number."""
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls if self._tls is not None else True, socket_factory=_kept_alive)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()

    async def request(
        self, method: str, path: str, *, timeout_s: float, body: bytes | None = None, params: Mapping[str, str] | None = None, content: str = "application/json"
    ) -> bytes:
        """One request; the body of a successful answer.

        Raises:
            ApiRefused: any status but 2xx.
            ApiUnreachable: no answer in time; the request may have been carried out.
        """
        patience = aiohttp.ClientTimeout(total=timeout_s)
        async with self._exchange(method, path, patience, params=params, body=body, content=content) as response:
            return await response.read()

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], idle_s: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """A long answer as it arrives, in pieces of any size.

        Raises:
            ApiRefused: any status but 2xx.
            ApiUnreachable: the connection failed, or was silent for `idle_s`.
        """
        patience = aiohttp.ClientTimeout(total=None, sock_connect=idle_s, sock_read=idle_s)
        async with self._exchange("GET", path, patience, params=params) as response:
            yield response.content.iter_any()

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        patience: aiohttp.ClientTimeout,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise ApiUnreachable("the connection is not open")
        headers = {**await self._headers(), "Accept": "application/json", **({"Content-Type": content} if body is not None else {})}
        try:
            async with self._session.request(method, self._server + path, params=params, data=body, headers=headers, timeout=patience) as response:
                if response.status // 100 != 2:
                    raise ApiRefused(response.status, _message(await response.read()))
                yield response
        except TimeoutError as error:
            raise ApiUnreachable(f"{method} {path}: no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiUnreachable(f"{method} {path}: {error}") from error


def _kept_alive(address: AddrInfoType) -> socket.socket:
    """A socket whose kernel asks a silent peer whether it is still there: a watch sends nothing for up to a minute, and would not notice otherwise."""
    kind, transport, protocol, _, _ = address
    made = socket.socket(kind, transport, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE.items():
        if hasattr(socket, option):  # not on every platform
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def _message(body: bytes) -> str:
    try:
        return decoding.from_json(body, StatusError).message
    except ManifestRefused:
        return body[:_TEXT_MAX].decode(errors="replace")

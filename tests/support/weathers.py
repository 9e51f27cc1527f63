"""Weather between our processes and the API server: a proxy in which a test makes requests fail, wait, or get lost, and watches fall silent, tear or swallow.

Plain HTTP in front, the API server behind; tokens are passed on (client-go shows none without TLS: the proxy is given one). JSON only. Nothing is changed
while nothing is set. It injects faults and records them: whoever looks for a proxy of production looks elsewhere.
"""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

import aiohttp
from aiohttp import web
from controlplane_clusters import Cluster, free_ports

Value = TypeVar("Value")
_OK: Final = 200
_CLOSING_S: Final = 0.5
# How anything begins that was packed by gzip.
_GARBLED: Final = b"\x1f\x8b\x08\x00"


@dataclass
class Weather:
    """What happens to requests whose path holds a text. All of it may be set from the test's thread at any time."""

    url: str = ""
    refuse: dict[str, int] = field(default_factory=dict)
    """By a part of `METHOD path`, or `METHOD path watch`: the status to refuse with."""
    wait_s: dict[str, float] = field(default_factory=dict)
    """How long to hold a request back."""
    lose: set[str] = field(default_factory=set)
    """Carried out, and then the connection is cut in place of the answer."""
    late_s: dict[str, float] = field(default_factory=dict)
    """Carried out at once, and answered only after so long."""
    garble: set[str] = field(default_factory=set)
    """Answered with bytes that are no text."""
    silent: set[str] = field(default_factory=set)
    """Watches that say nothing more, though they stay open."""
    mute: set[str] = field(default_factory=set)
    """Watches that never say their next line, nor anything after it, though they stay open; once. One that is begun later is sound."""
    tear: set[str] = field(default_factory=set)
    """Watches that are cut in the middle of their next line; once."""
    swallow: set[tuple[str, str]] = field(default_factory=set)
    """Watches whose events with a text never arrive."""
    carried_out: Callable[[str], None] | None = None
    """Called with `METHOD path` after the API server carried out a write, and before its answer is passed back."""
    seen: list[str] = field(default_factory=list)
    """`METHOD path`, `silenced path`, `muted path`, `torn path`, `swallowed path`: what happened, in order."""
    longest_line: int = 0
    """Bytes of the longest event passed on."""

    def clear(self) -> None:
        """Good weather again; what was seen stays."""
        for hold in (self.refuse, self.wait_s, self.lose, self.late_s, self.garble, self.silent, self.mute, self.tear, self.swallow):
            hold.clear()
        self.carried_out = None

    def is_bad(self) -> bool:
        """True where something is set."""
        return any((self.refuse, self.wait_s, self.lose, self.late_s, self.garble, self.silent, self.mute, self.tear, self.swallow, self.carried_out))

    def count(self, text: str) -> int:
        """How many entries hold the text."""
        return sum(text in entry for entry in list(self.seen))


class _Proxy:
    def __init__(self, weather: Weather, cluster: Cluster, token: str) -> None:
        self._weather = weather
        self._credentials = {"Authorization": f"Bearer {token}"} if token else {}
        self._target = cluster.url
        self._tls = ssl.create_default_context(cafile=str(cluster.ca_file))
        self._session: aiohttp.ClientSession | None = None

    async def open(self, port: int) -> web.AppRunner:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        watches = bool(request.query.get("watch"))
        weather, what = self._weather, f"{request.method} {request.path}{' watch' if watches else ''}"
        weather.seen.append(what)
        body = await request.read()
        for seconds in _matching(weather.wait_s, what):
            await asyncio.sleep(seconds)
        for status in _matching(weather.refuse, what):
            return web.json_response({"kind": "Status", "apiVersion": "v1", "code": status, "message": "bad weather, made by a test"}, status=status)
        shown = {name: value for name, value in request.headers.items() if name.lower() not in {"host", "content-length", "accept-encoding"}}
        # The API server packs answers of 128 KiB and more for whoever takes them packed, and bodies are passed on without their encoding.
        headers = self._credentials | shown | {"Accept-Encoding": "identity"}
        try:
            async with self._session.request(request.method, self._target + request.path_qs, data=body or None, headers=headers) as answer:
                if any(text in what for text in list(weather.lose)):
                    await answer.read()
                    return _cut(request)
                if watches and answer.status == _OK:
                    return await self._stream(request, answer)
                content = await answer.read()
                if any(text in what for text in list(weather.garble)):
                    return web.Response(body=_GARBLED, content_type=answer.content_type)
                carried_out = weather.carried_out  # read once: the test may take it away at any time
                if carried_out is not None and request.method != "GET" and answer.status < 300:
                    carried_out(what)
                for seconds in _matching(weather.late_s, what):
                    await asyncio.sleep(seconds)
                return web.Response(body=content, status=answer.status, content_type=answer.content_type)
        except aiohttp.ClientError:
            return _cut(request)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.headers.get("Content-Type", "application/json")})
        await response.prepare(request)
        async for line in _lines(answer):
            if not await self._event(request, response, line):
                return response
        with suppress(ConnectionError):
            await response.write_eof()
        return response

    async def _event(self, request: web.Request, response: web.StreamResponse, line: bytes) -> bool:
        """Passes one line of a watch on; False where the connection is gone."""
        weather, path = self._weather, request.path
        if any(part in path and text.encode() in line for part, text in list(weather.swallow)):
            weather.seen.append(f"swallowed {path}")
            return True
        if any(part in path for part in list(weather.silent)):
            weather.seen.append(f"silenced {path}")
            while any(part in path for part in list(weather.silent)):  # noqa: ASYNC110 -- set from another thread
                await asyncio.sleep(0.02)
        for part in [part for part in list(weather.mute) if part in path]:
            weather.mute.discard(part)
            weather.seen.append(f"muted {path}")
            await asyncio.Event().wait()  # until whoever listens gives up
        for part in [part for part in list(weather.tear) if part in path]:
            weather.tear.discard(part)
            weather.seen.append(f"torn {path}")
            await response.write(line[: len(line) // 2])
            await asyncio.sleep(0.05)
            _cut(request)
            return False
        weather.longest_line = max(weather.longest_line, len(line))
        try:
            await response.write(line)
        except ConnectionError:
            return False
        return True


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"


def _matching(rules: Mapping[str, Value], what: str) -> list[Value]:
    return [value for text, value in list(rules.items()) if text in what]


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


@contextmanager
def weather_before(cluster: Cluster, token: str = "") -> Iterator[Weather]:
    """A proxy before a cluster's API server, in a thread of its own; who shows no token shows that one."""
    (port,) = free_ports(1)
    weather = Weather(f"http://127.0.0.1:{port}")
    ready, ended, loops = threading.Event(), asyncio.Event(), list[asyncio.AbstractEventLoop]()

    async def serve() -> None:
        proxy = _Proxy(weather, cluster, token)
        runner = await proxy.open(port)
        loops.append(asyncio.get_running_loop())
        ready.set()
        await ended.wait()
        await runner.cleanup()
        await proxy.close()
        # Connections that were cut on both sides are closed by the loop, a few turns later.
        await asyncio.sleep(_CLOSING_S)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield weather
    finally:
        weather.clear()
        loops[0].call_soon_threadsafe(ended.set)
        thread.join(10)

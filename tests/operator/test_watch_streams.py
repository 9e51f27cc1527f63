"""What kopf's watches go through: whole lines only, and whatever went wrong with one, or was large on it, is counted and said."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.streams import Connections, Listener
from stowplan_operator.settings import ApiSettings

Body = Callable[[web.StreamResponse], Awaitable[None]]
WATCH = "/api/v1/configmaps"


def event(name: str, size: int = 0) -> bytes:
    """A line of a watch."""
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "here"}, "data": {"x": "x" * size}}
    return json.dumps({"type": "ADDED", "object": found}).encode() + b"\n"


@asynccontextmanager
async def watched(body: Body, metrics: Metrics, idle_s: float = 70.0, query: str = "watch=true") -> AsyncIterator[aiohttp.ClientResponse]:
    """An answer whose body a test writes, as kopf gets it."""

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await body(response)
        return response

    app = web.Application()
    app.router.add_get(WATCH, serve)
    async with TestServer(app) as server:
        info = kopf.ConnectionInfo(server=str(server.make_url("")).rstrip("/"), token="secret")
        connections = Connections(info, Listener.made(ApiSettings(idle_s=idle_s), metrics))
        async with connections.aiohttp_session as session, session.get(f"{info.server}{WATCH}?{query}") as response:
            yield response


def broken(metrics: Metrics) -> dict[str, float]:
    """How watches broke, and how often."""
    return {sample.labels["how"]: sample.value for family in metrics.watches_broken.collect() for sample in family.samples if sample.name.endswith("_total")}


async def read(response: aiohttp.ClientResponse) -> list[bytes]:
    """Everything that arrives."""
    return [chunk async for chunk in response.content.iter_chunked(1 << 20)]


async def test_only_whole_lines_arrive_and_a_large_one_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Lines cut anywhere arrive whole; an object of a megabyte is counted and named, a usual one is not, and a watch that ends well is nothing to be told."""
    caplog.set_level("INFO")
    lines = [event("small"), event("large", 1_040_000), event("last")]

    async def body(response: web.StreamResponse) -> None:
        whole = b"".join(lines)
        for start in range(0, len(whole), 70_001):
            await response.write(whole[start : start + 70_001])

    metrics = Metrics()
    async with watched(body, metrics) as response:
        chunks = await read(response)
    assert b"".join(chunks) == b"".join(lines)
    assert all(chunk.endswith(b"\n") for chunk in chunks)
    assert broken(metrics) == {}
    assert metrics.large_objects.labels("configmaps")._value.get() == 1
    (told,) = [record.__dict__ for record in caplog.records if record.message == "a large object"]
    assert told["object"] == {"kind": "ConfigMap", "ns": "here", "name": "large"}
    assert told["bytes"] > 1_040_000


@pytest.mark.parametrize("how", ["ended", "cut"])
async def test_half_a_line_never_arrives(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Torn in the middle of a line, politely or not: kopf sees whole events only, and a metric and a log line tell it."""

    async def body(response: web.StreamResponse) -> None:
        await response.write(event("whole") + event("half")[:20])
        if how == "cut":
            await asyncio.sleep(0.05)
            assert response._req is not None
            assert response._req.transport is not None
            response._req.transport.abort()

    metrics, arrived = Metrics(), list[bytes]()
    async with watched(body, metrics) as response:
        with suppress(aiohttp.ClientError):
            async for chunk in response.content.iter_chunked(1 << 20):
                arrived.append(chunk)
    assert arrived == [event("whole")]
    assert broken(metrics) == {"torn": 1}
    assert [record.message for record in caplog.records] == ["a watch broke off; it is begun anew where it was"]


async def test_a_watch_that_says_nothing_is_told_and_one_that_is_ended_is_not() -> None:
    """Kopf ends a watch after `idle_s` of silence, which is told; that it ends one for another reason, or closes it itself, is not."""
    silence = asyncio.Event()

    async def body(response: web.StreamResponse) -> None:
        await response.write(event("first"))
        await silence.wait()

    metrics = Metrics()
    for patience_s, told in ((0.02, {}), (0.3, {"silent": 1})):
        async with watched(body, metrics, idle_s=0.3) as response:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await read(response)
            silence.set()
        silence.clear()
        assert broken(metrics) == told
    async with watched(body, metrics, idle_s=60) as response:
        reading = asyncio.create_task(read(response))
        await asyncio.sleep(0.05)
        response.close()
        with suppress(aiohttp.ClientError):
            await reading
        silence.set()
    assert broken(metrics) == {"silent": 1}


async def test_what_is_no_watch_passes_untouched() -> None:
    """A list has no lines: it is read whole."""

    async def body(response: web.StreamResponse) -> None:
        await response.write(b'{"items": []}')

    metrics = Metrics()
    async with watched(body, metrics, query="limit=500") as response:
        assert await response.json(content_type=None) == {"items": []}
    assert broken(metrics) == {}


async def test_a_session_that_was_closed_is_never_given_again() -> None:
    """The watches end and their session is closed, while some tasks still ask: they get a new one, and comparing or showing credentials opens none."""
    info = kopf.ConnectionInfo(server="http://127.0.0.1:1", token="secret", default_namespace="here")
    listener = Listener.made(ApiSettings(), Metrics())
    connections = Connections(info, listener)
    async with connections.aiohttp_session as first:
        assert first.headers["Authorization"] == "Bearer secret"
    async with connections.aiohttp_session as second:
        assert first.closed
        assert not second.closed
    assert connections != Connections(info, listener)
    assert "secret" not in repr(connections)
    assert (connections.server, connections.default_namespace, connections.expiration) == (info.server, "here", info.expiration)

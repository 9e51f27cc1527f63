"""Remote models over real connections: a TLS server, and an HTTP server that answers GET as an S3-compatible store does (a fake: no store runs here)."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
import trustme
from aiohttp import web
from stowplan_fleet.reasons import ConditionReason
from stowplan_operator.errors import ModelRejected
from stowplan_operator.models.remotes import Fetched, RemoteLimits, Remotes, refuse_privileged
from stowplan_operator.models.sources import RemoteSource

CONTENT = b"\x08\x0a" * 5000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AUTHORITY = trustme.CA()


async def answer(request: web.Request) -> web.StreamResponse:
    """A file, a redirect, an endless one, a slow one, and errors."""
    match request.path.rpartition("/")[2]:
        case "model.onnx" if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304)
        case "model.onnx":
            return web.Response(body=CONTENT, headers={"ETag": '"v1"', "Last-Modified": "Sun, 22 Nov 2026 00:00:00 GMT"})
        case "moved.onnx":
            return web.Response(status=302, headers={"Location": "https://169.254.169.254/latest/meta-data"})
        case "endless.onnx":
            endless = web.StreamResponse()
            await endless.prepare(request)
            with suppress(ConnectionResetError):
                while True:
                    await endless.write(bytes(1 << 16))
            return endless
        case "slow.onnx":
            await asyncio.sleep(0.8)
            return web.Response(body=CONTENT)
        case other:
            return web.Response(status=503 if other == "broken.onnx" else 404)


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def web_server(limits: RemoteLimits) -> AsyncIterator[tuple[Remotes, Callable[[str], RemoteSource]]]:
    """A TLS server on loopback that the client trusts; the guard against loopback is off (its own tests are below)."""
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    AUTHORITY.issue_cert("localhost").configure_cert(serving)
    AUTHORITY.configure_trust(asking)
    async with listening(serving) as port:
        remotes = Remotes(limits, connector=aiohttp.TCPConnector(ssl=asking))
        try:
            yield remotes, lambda path: RemoteSource("https", f"localhost:{port}", path)
        finally:
            await remotes.close()


@asynccontextmanager
async def bucket(limits: RemoteLimits, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Remotes, Callable[[str], RemoteSource]]]:
    for name, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    async with listening() as port:
        yield Remotes(limits, s3_endpoint=f"http://127.0.0.1:{port}"), lambda path: RemoteSource("s3", "models", path)


LIMITS = RemoteLimits(1 << 20, 5.0)


@pytest.mark.parametrize("scheme", ["https", "s3"])
async def test_a_file_arrives_once_and_is_known_again(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes, with the server's tag; asked again with that tag, nothing is sent."""
    async with web_server(LIMITS) if scheme == "https" else bucket(LIMITS, monkeypatch) as (remotes, at):
        fetched = await remotes.fetch(at("folder/model.onnx"))
        assert fetched == Fetched(CONTENT, '"v1"')
        assert await remotes.fetch(at("folder/model.onnx"), '"v1"') is None


@pytest.mark.parametrize(
    ("scheme", "path", "bytes_max", "told"),
    [
        ("https", "none.onnx", 1 << 20, (ConditionReason.MODEL_NOT_FOUND, "correct spec.model.uri")),
        ("s3", "none.onnx", 1 << 20, (ConditionReason.MODEL_NOT_FOUND, "correct spec.model.uri")),
        ("s3", "model.onnx", 9999, (ConditionReason.MODEL_REFUSED, "more than the 9999 allowed")),
        ("https", "model.onnx", 9999, (ConditionReason.MODEL_REFUSED, "more than the 9999 allowed")),
        # Of a bucket the library itself takes no object of unknown length.
        ("https", "endless.onnx", 1 << 20, (ConditionReason.MODEL_REFUSED, "more than the 1048576 allowed")),
    ],
)
async def test_what_is_wrong_is_told_apart(scheme: str, path: str, bytes_max: int, told: tuple[ConditionReason, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent and too large (announced or not) each have their reason, and a file that never ends is dropped at the limit."""
    limits = RemoteLimits(bytes_max, 5.0)
    async with web_server(limits) if scheme == "https" else bucket(limits, monkeypatch) as (remotes, at):
        with pytest.raises(ModelRejected, match=told[1]) as caught:
            await remotes.fetch(at(path))
    assert caught.value.reason is told[0]


@pytest.mark.parametrize(("path", "text"), [("slow.onnx", "within 0.5 s"), ("broken.onnx", "503")])
async def test_a_place_that_does_not_answer_is_tried_again(path: str, text: str) -> None:
    """Slow and failing servers are told as unreachable, not as a broken model."""
    async with web_server(RemoteLimits(1 << 20, 0.5)) as (remotes, at):
        with pytest.raises(ModelRejected, match=text) as caught:
            await remotes.fetch(at(path))
    assert caught.value.reason is ConditionReason.MODEL_UNREACHABLE


async def test_redirects_are_not_followed() -> None:
    """An allowed host cannot send us to a metadata service."""
    async with web_server(LIMITS) as (remotes, at):
        with pytest.raises(ModelRejected, match="302; redirects are not followed"):
            await remotes.fetch(at("moved.onnx"))


@pytest.mark.parametrize("place", ["localhost", "127.0.0.1", "169.254.169.254"])
async def test_names_that_lead_to_this_machine_or_to_metadata_are_refused(place: str) -> None:
    """Resolved or literal: loopback and link-local addresses are never asked, even where the administrator named the host."""
    async with listening() as port:
        remotes = Remotes(LIMITS)
        try:
            with pytest.raises(ModelRejected, match="no model may come from") as caught:
                await remotes.fetch(RemoteSource("https", f"{place}:{port}", "model.onnx"))
        finally:
            await remotes.close()
    assert caught.value.reason is ConditionReason.SOURCE_NOT_ALLOWED


@pytest.mark.parametrize("address", ["::1", "fe80::1%eth0", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1"])  # noqa: S104 - refused, not bound
def test_every_spelling_of_such_an_address_is_refused(address: str) -> None:
    """IPv6, mapped IPv4, scoped and unspecified addresses too."""
    with pytest.raises(ModelRejected):
        refuse_privileged("host", address)
    refuse_privileged("minio.storage.svc", "10.0.3.4")

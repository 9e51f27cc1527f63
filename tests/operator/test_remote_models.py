"""Remote models over real connections: a TLS server, and fakes that answer GET as an S3-compatible store and as Google's XML API (no store runs)."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from stowplan_fleet.reasons import ConditionReason
from stowplan_operator.errors import ModelRejected
from stowplan_operator.models.remotes import Fetched, RemoteLimits, Remotes, refuse_privileged
from stowplan_operator.models.sources import RemoteSource

MODIFIED = "Sun, 22 Nov 2026 00:00:00 GMT"
CONTENT = b"\x08\x0a" * 5000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AUTHORITY = trustme.CA()
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
At = Callable[[str], RemoteSource]
Serving = AbstractAsyncContextManager[tuple[Remotes, At]]


async def answer(request: web.Request) -> web.StreamResponse:  # noqa: PLR0911 -- a line a case
    """A file, a redirect, one whose size is not told, an endless one, a slow one, and errors."""
    match request.path.rpartition("/")[2]:
        case "signed.onnx" if not is_signed(request):
            return web.Response(status=401)
        case "model.onnx" if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304)
        case "model.onnx" | "signed.onnx":
            return web.Response(body=CONTENT, headers={"ETag": '"v1"', "Last-Modified": MODIFIED})
        case "moved.onnx":
            return web.Response(status=302, headers={"Location": "https://169.254.169.254/latest/meta-data"})
        case "unsized.onnx":
            unsized = web.StreamResponse(headers={"ETag": '"v1"', "Last-Modified": MODIFIED})
            unsized.enable_chunked_encoding()
            await unsized.prepare(request)
            await unsized.write(CONTENT)
            await unsized.write_eof()
            return unsized
        case "endless.onnx":
            endless = web.StreamResponse()
            await endless.prepare(request)
            with suppress(ConnectionResetError):
                while True:
                    await endless.write(bytes(1 << 16))
                    # Others have a turn, too, where nothing takes what is written.
                    await asyncio.sleep(0)
            return endless
        case "slow.onnx":
            await asyncio.sleep(0.8)
            return web.Response(body=CONTENT)
        case other:
            return web.Response(status=503 if other == "broken.onnx" else 404)


def is_signed(request: web.Request) -> bool:
    """True where it carries a token that the service account's key signed (RFC 7519), as Google's services take it in place of an access token."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    content, _, signature = token.rpartition(".")
    try:
        KEY.public_key().verify(base64.urlsafe_b64decode(signature + "=="), content.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    claims = json.loads(base64.urlsafe_b64decode(content.split(".")[1] + "=="))
    return bool(claims["iss"] == claims["sub"] == "operator@example.com")


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    app = web.Application()
    transports: set[asyncio.Transport] = set()

    async def remember(request: web.Request, _: web.StreamResponse) -> None:
        if request.transport is not None:
            transports.add(request.transport)

    app.on_response_prepare.append(remember)
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        await runner.cleanup()
        # With TLS a connection ends only when its other side has said so, too, and the library's pool may not say it before the loop is closed.
        for transport in transports:
            # Python 3.11 fails on one that is closed already.
            with suppress(AttributeError):
                transport.abort()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def web_server(limits: RemoteLimits) -> AsyncIterator[tuple[Remotes, At]]:
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
async def bucket(limits: RemoteLimits, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Remotes, At]]:
    for name, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    async with listening() as port:
        yield Remotes(limits, s3_endpoint=f"http://127.0.0.1:{port}"), lambda path: RemoteSource("s3", "models", path)


@asynccontextmanager
async def google(limits: RemoteLimits, monkeypatch: pytest.MonkeyPatch, folder: Path) -> AsyncIterator[tuple[Remotes, At]]:
    """A TLS server in place of storage.googleapis.com, by a key of a service account that names it (an invention of the library's: its emulators use it)."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(serving)
    AUTHORITY.cert_pem.write_to_path(str(folder / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
    async with listening(serving) as port:
        key = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        account = {"client_email": "operator@example.com", "private_key_id": "1", "private_key": key, "gcs_base_url": f"https://localhost:{port}"}
        (folder / "account.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(folder / "account.json"))
        yield Remotes(limits), lambda path: RemoteSource("gs", "models", path)


# Longer than anything here takes on a busy machine.
LIMITS = RemoteLimits(1 << 20, 60.0)


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, RemoteLimits], Serving]:
    """Makes a place of that scheme, and what fetches from it."""

    def make(scheme: str, limits: RemoteLimits) -> Serving:
        match scheme:
            case "https":
                return web_server(limits)
            case "s3":
                return bucket(limits, monkeypatch)
            case _:
                return google(limits, monkeypatch, tmp_path)

    return make


@pytest.mark.parametrize("scheme", ["https", "s3", "gs"])
async def test_a_file_arrives_once_and_is_known_again(scheme: str, serving: Callable[[str, RemoteLimits], Serving]) -> None:
    """The bytes, with the server's tag; asked again with that tag, nothing is sent."""
    async with serving(scheme, LIMITS) as (remotes, at):
        fetched = await remotes.fetch(at("folder/model.onnx"))
        assert fetched == Fetched(CONTENT, '"v1"')
        assert await remotes.fetch(at("folder/model.onnx"), '"v1"') is None


@pytest.mark.parametrize(
    ("scheme", "path", "bytes_max", "told"),
    [
        ("https", "none.onnx", 1 << 20, (ConditionReason.MODEL_NOT_FOUND, "correct spec.model.uri")),
        ("s3", "none.onnx", 1 << 20, (ConditionReason.MODEL_NOT_FOUND, "correct spec.model.uri")),
        ("gs", "none.onnx", 1 << 20, (ConditionReason.MODEL_NOT_FOUND, "correct spec.model.uri")),
        ("s3", "model.onnx", 9999, (ConditionReason.MODEL_REFUSED, "more than the 9999 allowed")),
        ("gs", "model.onnx", 9999, (ConditionReason.MODEL_REFUSED, "more than the 9999 allowed")),
        ("https", "model.onnx", 9999, (ConditionReason.MODEL_REFUSED, "more than the 9999 allowed")),
        # Of a bucket the library itself takes no object of unknown length: it says so, and reads nothing.
        ("gs", "unsized.onnx", 1 << 20, (ConditionReason.MODEL_UNREACHABLE, "Content-Length")),
        ("s3", "unsized.onnx", 1 << 20, (ConditionReason.MODEL_UNREACHABLE, "Content-Length")),
        ("https", "endless.onnx", 1 << 20, (ConditionReason.MODEL_REFUSED, "more than the 1048576 allowed")),
    ],
)
async def test_what_is_wrong_is_told_apart(
    scheme: str, path: str, bytes_max: int, told: tuple[ConditionReason, str], serving: Callable[[str, RemoteLimits], Serving]
) -> None:
    """Absent and too large (announced or not) each have their reason, and a file that never ends is dropped at the limit."""
    async with serving(scheme, RemoteLimits(bytes_max, LIMITS.timeout_s)) as (remotes, at):
        with pytest.raises(ModelRejected, match=told[1]) as caught:
            await remotes.fetch(at(path))
    assert caught.value.reason is told[0]


@pytest.mark.parametrize(
    ("scheme", "path", "text"),
    [
        ("https", "slow.onnx", "within 0.5 s"),
        ("gs", "slow.onnx", "within 0.5 s"),
        ("https", "broken.onnx", "503"),
        # The library itself asks again for as long as it may.
        ("gs", "broken.onnx", "within 0.5 s"),
    ],
)
async def test_a_place_that_does_not_answer_is_tried_again(scheme: str, path: str, text: str, serving: Callable[[str, RemoteLimits], Serving]) -> None:
    """Slow and failing servers are told as unreachable, not as a broken model."""
    async with serving(scheme, RemoteLimits(1 << 20, 0.5)) as (remotes, at):
        with pytest.raises(ModelRejected, match=text) as caught:
            await remotes.fetch(at(path))
    assert caught.value.reason is ConditionReason.MODEL_UNREACHABLE


async def test_google_is_asked_in_the_name_of_the_service_account(serving: Callable[[str, RemoteLimits], Serving]) -> None:
    """Each request carries a token signed by the account's key; nothing else gets the file."""
    async with serving("gs", LIMITS) as (remotes, at):
        assert await remotes.fetch(at("signed.onnx")) == Fetched(CONTENT, '"v1"')


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

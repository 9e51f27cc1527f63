"""Remote models: files of web servers and buckets, within limits of size and time.

What is fetched is a tenant's wish: whatever is larger than allowed is dropped while it arrives. Of web servers redirects are not followed, and a name that
leads to this machine or to a link-local address (where clouds keep their metadata services) is refused after it was resolved. Of a bucket a tenant names no
host: its store is the cloud's own or the administrator's, and the library asks it over TLS (but for an `http://` endpoint), also where that store redirects.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import obstore
from aiohttp.abc import AbstractResolver, ResolveResult
from obstore.exceptions import BaseError, NotModifiedError
from obstore.store import GCSStore, S3Store
from stowplan_fleet.reasons import ConditionReason

from stowplan_operator.errors import ModelRejected
from stowplan_operator.models.sources import RemoteSource

_CHUNK_BYTES: Final = 1 << 20
_NOT_MODIFIED: Final = 304
_OK: Final = 200
_GONE: Final = (404, 410)
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """What a fetch may cost."""

    bytes_max: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file, and what tells whether it changed since."""

    content: bytes
    version: str
    """The server's entity tag; empty where it gives none."""


class _NotPrivileged(AbstractResolver):
    """Resolves names, and refuses those that lead where only this machine should reach."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ANN401 - as in the base class
        found = await self._inner.resolve(host, port, family)
        for item in found:
            refuse_privileged(host, item["host"])
        return found

    async def close(self) -> None:
        await self._inner.close()


def refuse_privileged(host: str, address: str) -> None:
    """Passes addresses that models may come from: public ones, and private ones of hosts that the administrator named.

    Raises:
        ModelRejected: it is this machine's own, link-local (metadata services of clouds) or no address of a single host.
    """
    where = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(where, "ipv4_mapped", None)
    where = mapped or where
    if where.is_loopback or where.is_link_local or where.is_multicast or where.is_unspecified or where.is_reserved:
        raise ModelRejected(ConditionReason.SOURCE_NOT_ALLOWED, f"{host} resolves to {address}, which no model may come from; name the host of a model store")


class Remotes:
    """Fetches remote models; an async context manager that closes its connections."""

    def __init__(self, limits: RemoteLimits, *, connector: aiohttp.BaseConnector | None = None, s3_endpoint: str = "") -> None:
        """Prepares; `connector` replaces the guarded one (tests), `s3_endpoint` the cloud's own (an S3-compatible store)."""
        self._limits, self._connector, self._s3_endpoint = limits, connector, s3_endpoint
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, source: RemoteSource, known_version: str = "") -> Fetched | None:
        """The file; None where it is still the known version.

        Raises:
            ModelRejected: it is not there, too large, or the place does not answer as it should; says which.
        """
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await (self._fetch_https(source, known_version) if source.scheme == "https" else self._fetch_object(source, known_version))
        except TimeoutError:
            raise self._unreachable(source, f"it did not arrive within {self._limits.timeout_s:g} s") from None

    async def close(self) -> None:
        """Closes connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _fetch_https(self, source: RemoteSource, known_version: str) -> Fetched | None:
        if self._session is None:
            connector = self._connector or aiohttp.TCPConnector(resolver=_NotPrivileged(), limit=8, ttl_dns_cache=0)
            # No proxy of the environment and no cookies: what a tenant names gets nothing that is ours.
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        host = source.place.partition(":")[0]
        with contextlib.suppress(ValueError):
            # A literal address is not resolved: aiohttp would not ask the resolver.
            refuse_privileged(host, host)
        headers = {"If-None-Match": known_version} if known_version else {}
        try:
            async with self._session.get(str(source), headers=headers, allow_redirects=False) as response:
                if response.status == _NOT_MODIFIED and known_version:
                    return None
                if response.status in _GONE:
                    raise ModelRejected(ConditionReason.MODEL_NOT_FOUND, f"{source}: the server says {response.status}; correct spec.model.uri")
                if response.status >= _SERVER_ERROR:
                    raise self._unreachable(source, f"the server says {response.status}")
                if response.status != _OK:
                    raise ModelRejected(
                        ConditionReason.MODEL_REFUSED, f"{source}: the server says {response.status}; redirects are not followed, name the file's own place"
                    )
                return Fetched(
                    await self._bounded(source, response.content_length, response.content.iter_chunked(_CHUNK_BYTES)), response.headers.get("ETag", "")
                )
        except aiohttp.ClientError as error:
            raise self._unreachable(source, f"{type(error).__name__}: {str(error)[:200]}") from error

    async def _fetch_object(self, source: RemoteSource, known_version: str) -> Fetched | None:
        # Types of the library's options cannot be imported at run time.
        timeout: Any = {"timeout": f"{max(1, round(self._limits.timeout_s))}s"}
        store: Any
        if source.scheme == "gs":
            store = GCSStore(source.place, client_options=timeout)
        elif self._s3_endpoint:
            timeout["allow_http"] = self._s3_endpoint.startswith("http://")
            store = S3Store(source.place, endpoint=self._s3_endpoint, client_options=timeout)
        else:
            store = S3Store(source.place, client_options=timeout)
        try:
            answer = await obstore.get_async(store, source.path, options={"if_none_match": known_version} if known_version else None)
            content = await self._bounded(source, answer.meta["size"], answer.stream(_CHUNK_BYTES))
            return Fetched(content, answer.meta["e_tag"] or "")
        except NotModifiedError:
            return None
        except FileNotFoundError as error:
            raise ModelRejected(ConditionReason.MODEL_NOT_FOUND, f"{source}: there is no such object; correct spec.model.uri") from error
        except (BaseError, OSError) as error:
            raise self._unreachable(source, str(error).partition("\n")[0][:200]) from error

    async def _bounded(self, source: RemoteSource, promised: int | None, chunks: AsyncIterator[Any]) -> bytes:
        held = bytearray()
        if (promised or 0) <= self._limits.bytes_max:
            async for chunk in chunks:
                held += bytes(chunk)
                if len(held) > self._limits.bytes_max:
                    break
            else:
                return bytes(held)
        size = f"{promised} bytes" if promised else "more bytes"
        raise ModelRejected(
            ConditionReason.MODEL_REFUSED, f"{source}: {size}, more than the {self._limits.bytes_max} allowed; strip its weights (stowplan strip)"
        )

    @staticmethod
    def _unreachable(source: RemoteSource, why: str) -> ModelRejected:
        return ModelRejected(ConditionReason.MODEL_UNREACHABLE, f"{source}: {why}; it is tried again")

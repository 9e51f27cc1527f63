"""Reflectors: keep a store like the API server's collection, by one list and an endless watch.

list -> watch with bookmarks from the list's resource version -> on 410 (the version is too old) or an ERROR event list again, on anything else
resume where it was; pauses between failures grow, with jitter, so that many clients do not return at once. Whoever knows that a watch is behind
begins it anew with a list (`renew`); the same happens every half hour, because a store cannot tell that an event never came.
Does not guarantee that nothing is missed between two events of one object: only the latest state counts here, and stores are level-based.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from typing import Final, Protocol

import msgspec
from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.objects import ListEnvelope, ObjectHead, StatusError, WatchEnvelope
from stowplan_fleet.sizes import LargeObjects

from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.errors import ApiError, ApiRefused, ApiUnreachable
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import ApiSettings

_log = logging.getLogger(__name__)

_GONE: Final = 410
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
# A watch that lived longer than this was a healthy one: the next failure starts with the shortest pause again.
_HEALTHY_S: Final = 5.0
# Objects between two breaths while a long list is stored, so that the scheduler's calls are not kept waiting: about 5 ms of work.
_BREATH: Final = 100


class Store(Protocol):
    """Where a reflector puts what it sees."""

    def put(self, item: msgspec.Raw) -> Hashable:
        """An object appeared or changed; its key."""

    def drop(self, item: msgspec.Raw) -> None:
        """An object is gone."""

    def retain(self, listed: set[Hashable]) -> None:
        """A list is complete: whatever is not among these keys is gone."""

    def settle(self) -> None:
        """A batch of events is over."""


class _TooOld(ApiError):
    """The resource version cannot be resumed from."""


class _StreamBroken(ApiError):
    """The server itself gave up a watch for a reason of its own."""


class _Renewed(ApiError):
    """Somebody knows that the watch is behind, or it is time to look whether it is."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the watch is begun anew: {cause}")
        self.cause = cause


class Reflector:
    """One collection, mirrored into a store."""

    def __init__(
        self,
        name: str,
        path: str,
        store: Store,
        *,
        connection: ApiConnection,
        settings: ApiSettings,
        metrics: Metrics,
        clock: Callable[[], float],
        selectors: Mapping[str, str] | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            name: for metrics and logs, such as `pods`.
            path: of the collection.
            store: where it goes.
            connection: open.
            settings: times and sizes.
            metrics: counts lists and events.
            clock: monotonic seconds.
            selectors: `labelSelector` and `fieldSelector`.
        """
        self.name = name
        self.synced = asyncio.Event()
        self._path = path
        self._store = store
        self._connection = connection
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._selectors = dict(selectors or {})
        self._large = LargeObjects(settings.large_object_bytes, metrics.large_objects, clock)
        self._version = ""
        self._lost_at_s: float | None = clock()
        self._listed_at_s = clock()
        self._renewal = asyncio.Event()

    @property
    def staleness_s(self) -> float:
        """How long we have been out of touch; 0 while a watch is open."""
        return 0.0 if self._lost_at_s is None else self._clock() - self._lost_at_s

    def renew(self) -> None:
        """Begins the watch anew with a list: somebody knows that it is behind."""
        self._renewal.set()

    async def run(self) -> None:
        """Mirrors until cancelled."""
        cause = "start"
        failures = 0
        while True:
            started = self._clock()
            try:
                if not self._version:
                    self._metrics.view_lists.labels(self.name, cause).inc()
                    await self._list()
                await self._watch_until_renewed()
                failures = 0
            except _Renewed as error:
                _log.info("listing again", extra={"resource": self.name, "cause": error.cause})
                self._version, cause, failures = "", error.cause, 0
            except _TooOld as error:
                _log.info("resource version is too old, listing again", extra={"resource": self.name, "error": str(error)})
                self._version, cause = "", "gone"
                failures = 0 if self._clock() - started >= _HEALTHY_S else failures + 1
            except (ApiError, ManifestRefused) as error:
                failures = 1 if self._clock() - started >= _HEALTHY_S else failures + 1
                self._metrics.watches_broken.labels(self.name).inc()
                _log.warning("out of touch with the API server", extra={"resource": self.name, "error": str(error), "failures": failures})
                if not _resumable(error):
                    self._version, cause = "", "error"
            finally:
                if self._lost_at_s is None:
                    self._lost_at_s = self._clock()
            # A watch that the server ended at once must not become a busy loop either.
            quick = self._clock() - started < 1.0
            await asyncio.sleep(self._pause_s(max(failures, 1 if quick else 0)))

    def _pause_s(self, failures: int) -> float:
        if failures == 0:
            return 0.0
        limit = min(self._settings.backoff_max_s, self._settings.backoff_s * 2.0 ** min(failures - 1, 16))
        return random.uniform(0.0, limit)

    async def _list(self) -> None:
        seen: set[Hashable] = set()
        token = ""
        while True:
            params = {**self._selectors, "limit": str(self._settings.page), **({"continue": token} if token else {})}
            try:
                body = await self._connection.request("GET", self._path, params=params, timeout_s=self._settings.timeout_s)
            except ApiRefused as error:
                if error.status == _GONE:
                    raise _TooOld(str(error)) from error
                raise
            page = decoding.from_json(body, ListEnvelope, f"list of {self.name}")
            for position, item in enumerate(page.items or (), start=1):
                self._large.see(self.name, item)
                seen.add(self._store.put(item))
                if position % _BREATH == 0:
                    await asyncio.sleep(0)
            token = page.metadata.continue_token
            if not token:
                break
        self._store.retain(seen)
        self._store.settle()
        self._version = page.metadata.resource_version
        self._lost_at_s = self._listed_at_s = self._clock()
        self.synced.set()

    async def _watch_until_renewed(self) -> None:
        self._renewal.clear()
        rest_s = max(0.0, self._listed_at_s + self._settings.relist_s - self._clock()) if self._settings.relist_s else None
        watching = asyncio.create_task(self._watch())
        renewing = asyncio.create_task(self._renewal.wait())
        try:
            done, _ = await asyncio.wait({watching, renewing}, timeout=rest_s, return_when=asyncio.FIRST_COMPLETED)
            if watching in done:
                await watching
                return
            raise _Renewed("behind" if done else "routine")
        finally:
            for task in (watching, renewing):
                task.cancel()
            await asyncio.gather(watching, renewing, return_exceptions=True)

    async def _watch(self) -> None:
        params = {
            **self._selectors,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(self._settings.watch_s * random.uniform(1.0, 1.5))),
        }
        try:
            async with self._connection.stream(self._path, params, self._settings.idle_s) as chunks:
                self._lost_at_s = None
                async for batch in _batches(chunks):
                    for line in batch:
                        self._apply(line)
                    self._store.settle()
        except ApiRefused as error:
            if error.status == _GONE:
                raise _TooOld(str(error)) from error
            raise

    def _apply(self, line: bytes) -> None:
        event = decoding.from_json(line, WatchEnvelope, f"watch of {self.name}")
        self._metrics.view_events.labels(self.name, event.type if event.type in _TYPES else "other").inc()
        self._large.see(self.name, event.object)
        match event.type:
            case "ADDED" | "MODIFIED":
                self._store.put(event.object)
            case "DELETED":
                self._store.drop(event.object)
            case "ERROR":
                status = decoding.from_json(event.object, StatusError)
                if status.code == _GONE:
                    raise _TooOld(status.message)
                raise _StreamBroken(f"{status.code}: {status.message}")
            case "BOOKMARK":
                pass
            case other:
                raise ManifestRefused(f"watch of {self.name}: an event of type {other[:32]!r}")
        self._version = decoding.from_json(event.object, ObjectHead).metadata.resource_version or self._version


def _resumable(error: Exception) -> bool:
    """Whether the version we have is still good: nobody answered, or the server was only too busy to."""
    busy = isinstance(error, ApiRefused) and (error.status == _TOO_MANY or error.status >= _SERVER_ERROR)
    return busy or isinstance(error, ApiUnreachable)


_TYPES: Final = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"})


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Whole lines out of pieces of any size; an object may be larger than any buffer's line limit."""
    pieces: list[bytes] = []
    async for chunk in chunks:
        head, separator, rest = chunk.rpartition(b"\n")
        if not separator:
            pieces.append(rest)
            continue
        pieces.append(head)
        yield [line for line in b"".join(pieces).split(b"\n") if line.strip()]
        pieces = [rest] if rest else []

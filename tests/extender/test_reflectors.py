"""A reflector keeps its store like the collection, whatever the connection does. Against a real HTTP server that speaks list and watch."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import msgspec
import pytest
from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.apiserver.reflectors import Reflector
from stowplan_extender.errors import ApiUnreachable
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import ApiSettings
from support.fake_apiservers import FakeApiServer

PATH = "/api/v1/nodes"
QUICK = ApiSettings(backoff_s=0.01, backoff_max_s=0.02, idle_s=5.0, page=2)


class ListStore:
    """Keeps each object's text under its name."""

    def __init__(self) -> None:
        self.items: dict[Hashable, str] = {}
        self.changed = asyncio.Event()

    def put(self, item: msgspec.Raw) -> Hashable:
        """Keeps it."""
        plain = json.loads(bytes(item))
        name: str = plain["metadata"]["name"]
        self.items[name] = plain.get("text", "")
        return name

    def drop(self, item: msgspec.Raw) -> None:
        """Forgets it."""
        self.items.pop(json.loads(bytes(item))["metadata"]["name"], None)

    def retain(self, listed: set[Hashable]) -> None:
        """Forgets the others."""
        self.items = {name: text for name, text in self.items.items() if name in listed}

    def settle(self) -> None:
        """Tells the test."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits for something to hold after some batch."""
        async with asyncio.timeout(60):
            while not holds():
                await self.changed.wait()


@asynccontextmanager
async def mirror(server: FakeApiServer, settings: ApiSettings = QUICK) -> AsyncIterator[tuple[ListStore, Reflector, Metrics]]:
    store, metrics = ListStore(), Metrics()
    async with server.serving() as url, ApiConnection(url) as connection:
        reflector = Reflector("nodes", PATH, store, connection=connection, settings=settings, metrics=metrics, clock=time.monotonic)
        task = asyncio.create_task(reflector.run())
        try:
            async with asyncio.timeout(60):
                await reflector.synced.wait()
            yield store, reflector, metrics
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def thing(name: str, text: str = "") -> dict[str, object]:
    return {"metadata": {"name": name}, "text": text}


def lists(server: FakeApiServer) -> int:
    return sum("watch" not in query and "continue" not in query for _, path, query in server.requests if path == PATH)


def watched_from(server: FakeApiServer) -> list[str]:
    return [query["resourceVersion"] for _, path, query in server.requests if path == PATH and "watch" in query]


async def test_lists_in_pages_then_follows() -> None:
    """All pages of a list arrive, then every change, without listing again."""
    server = FakeApiServer()
    for index in range(5):
        server.put(PATH, thing(f"n{index}"))
    async with mirror(server) as (store, _, _):
        assert set(store.items) == {f"n{index}" for index in range(5)}
        server.put(PATH, thing("n0", "changed"))
        server.delete(PATH, thing("n1"))
        server.put(PATH, thing("n9"))
        await store.until(lambda: "n9" in store.items)
        assert "n1" not in store.items
        assert store.items["n0"] == "changed"
        assert lists(server) == 1
        assert server.requests[-1][2]["allowWatchBookmarks"] == "true"


async def test_resumes_after_a_disconnect_where_it_was() -> None:
    """A cut connection is resumed from the last version seen, and what happened meanwhile is not lost."""
    server = FakeApiServer()
    server.put(PATH, thing("a"))
    async with mirror(server) as (store, _, _):
        server.put(PATH, thing("b"))
        await store.until(lambda: "b" in store.items)
        seen = str(server.version)
        server.disconnect()
        server.delete(PATH, thing("a"))
        await store.until(lambda: "a" not in store.items)
        assert lists(server) == 1
        assert watched_from(server)[-1] == seen


async def test_bookmarks_move_the_version() -> None:
    """After a bookmark a watch resumes from it, even though no object of ours changed."""
    server = FakeApiServer()
    server.put(PATH, thing("a"))
    async with mirror(server) as (store, _, _):
        server.version += 50
        server.bookmark(PATH)
        marked = str(server.version)
        await store.until(lambda: True)
        server.put(PATH, thing("b"))
        await store.until(lambda: "b" in store.items)
        server.compact()  # the versions of before are gone, the one of "b" with them
        server.oldest = int(marked)
        server.disconnect()
        server.put(PATH, thing("c"))
        await store.until(lambda: "c" in store.items)
        assert lists(server) == 1


@pytest.mark.parametrize("how", ["status", "event"])
async def test_lists_again_when_its_version_is_too_old(how: str) -> None:
    """410, as the watch's status or as an ERROR event, leads to a new list; what vanished meanwhile vanishes from the store."""
    server = FakeApiServer()
    server.put(PATH, thing("a"))
    server.put(PATH, thing("b"))
    async with mirror(server) as (store, _, metrics):
        if how == "event":
            server.collections[PATH].pop("a")
            server.error(PATH, 410)
        else:
            server.collections[PATH].pop("a")
            server.compact()
            server.disconnect()
        await store.until(lambda: "a" not in store.items)
        assert set(store.items) == {"b"}
        assert lists(server) == 2
        assert metrics.registry.get_sample_value("stowplan_extender_view_lists_total", {"resource": "nodes", "cause": "gone"}) == 1


async def test_other_errors_list_again_too() -> None:
    """Any other ERROR event means that the stream cannot be trusted: list again."""
    server = FakeApiServer()
    server.put(PATH, thing("a"))
    async with mirror(server) as (store, _, _):
        server.collections[PATH].pop("a")
        server.error(PATH, 500)
        await store.until(lambda: not store.items)
        assert lists(server) == 2


async def test_objects_larger_than_any_buffer_arrive_whole(caplog: pytest.LogCaptureFixture) -> None:
    """A megabyte in one line of a watch is one object; it is counted and named, on a watch as in a list, and a usual one is not."""
    caplog.set_level("INFO")
    server = FakeApiServer()
    server.put(PATH, thing("a"))
    server.put(PATH, thing("big", "x" * 300_000))
    async with mirror(server) as (store, _, metrics):
        server.put(PATH, thing("huge", "x" * (1 << 20)))
        await store.until(lambda: "huge" in store.items)
        assert len(store.items["huge"]) == 1 << 20
        assert metrics.large_objects.labels("nodes")._value.get() == 2
        told = [record.__dict__ for record in caplog.records if record.message == "a large object"]
        assert [record["object"]["name"] for record in told] == ["big", "huge"]
        assert told[1]["bytes"] > 1 << 20


async def test_failures_of_the_server_are_survived() -> None:
    """503s at the start and later only delay; while out of touch the staleness grows, and is 0 again afterwards."""
    server = FakeApiServer()
    server.put(PATH, thing("a"))
    server.failing = 3
    async with mirror(server) as (store, reflector, _):
        server.put(PATH, thing("b"))
        await store.until(lambda: "b" in store.items)
        assert reflector.staleness_s == 0.0
        listed = lists(server)
        server.failing = 2
        server.disconnect()
        server.put(PATH, thing("c"))
        await store.until(lambda: "c" in store.items)
        assert reflector.staleness_s == 0.0
        assert lists(server) == listed


class Unreachable(ApiConnection):
    """Refuses every request and notes when it was asked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__("http://nowhere.invalid")
        self._clock = clock
        self.asked_at: list[float] = []

    async def request(self, method: str, path: str, **_: object) -> bytes:
        """Says no."""
        self.asked_at.append(self._clock())
        raise ApiUnreachable(f"{method} {path}: refused")


@pytest.mark.looptime
async def test_pauses_grow_up_to_a_limit(looptime: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stays away is asked less and less often, never less than once in the longest pause; staleness tells for how long."""
    del looptime
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    clock = asyncio.get_running_loop().time
    connection = Unreachable(clock)
    settings = ApiSettings(backoff_s=0.5, backoff_max_s=4.0)
    reflector = Reflector("nodes", PATH, ListStore(), connection=connection, settings=settings, metrics=Metrics(), clock=clock)
    task = asyncio.create_task(reflector.run())
    await asyncio.sleep(20)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    pauses = [round(after - before, 2) for before, after in zip(connection.asked_at, connection.asked_at[1:], strict=False)]
    assert pauses[:6] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert reflector.staleness_s == pytest.approx(20, abs=0.1)


async def test_a_watch_that_swallows_an_event_is_healed_by_a_list() -> None:
    """An object that went without a word is dropped when somebody says that the watch is behind, and by the list of every so often."""
    server = FakeApiServer()
    for name in ("a", "b", "c"):
        server.put(PATH, thing(name))
    async with mirror(server) as (store, reflector, metrics):
        server.collections[PATH].pop("a")
        reflector.renew()
        await store.until(lambda: "a" not in store.items)
        assert metrics.view_lists.labels("nodes", "behind")._value.get() == 1
    async with mirror(server, replace(QUICK, relist_s=0.05)) as (store, reflector, metrics):
        server.collections[PATH].pop("b")
        await store.until(lambda: "b" not in store.items)
        assert metrics.view_lists.labels("nodes", "routine")._value.get() >= 1
        assert reflector.staleness_s < 1

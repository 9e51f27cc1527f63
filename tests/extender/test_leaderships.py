"""Only the extender beside the Lease's holder binds."""

import asyncio
import contextlib
import dataclasses
from typing import Any

import pytest
from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.binding.leaderships import LeaseLeadership
from stowplan_extender.errors import NotLeading
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import LeaseSettings
from support.fake_apiservers import FakeApiServer
from support.quays import Quay
from support.virtual_clocks import HandClock

SETTINGS = LeaseSettings(name="stowplan", namespace="stowplan-system", pod_name="scheduler-a", cache_s=1.0)
# Of those that take no time to begin, so that tests of looks need not wait either.
AT_ONCE = dataclasses.replace(SETTINGS, takeover_s=0.0)


async def test_follows_the_lease_within_a_second() -> None:
    """The holder may bind; once the Lease names another pod it may not, after at most `cache_s`; and a Lease that cannot be read lets nobody bind."""
    server, clock = FakeApiServer(), HandClock()
    async with server.serving() as url, ApiConnection(url) as connection:
        leadership = LeaseLeadership(connection, AT_ONCE, 5.0, clock, Metrics())
        with pytest.raises(NotLeading, match="cannot be read"):
            await leadership.check()
        server.leases["stowplan"] = "scheduler-a_0f9a"
        await leadership.check()
        server.leases["stowplan"] = "scheduler-b_77aa"
        await leadership.check()
        assert len(server.requests) == 2
        clock.now = 1.0
        with pytest.raises(NotLeading, match="names scheduler-b_77aa, not scheduler-a"):
            await leadership.check()


@pytest.mark.parametrize("holder", ["", "scheduler-a", "scheduler-ab_1", "scheduler_1"])
async def test_other_names_do_not_pass(holder: str) -> None:
    """An empty holder, one without the unique part, and pods whose names only begin alike are not us."""
    server = FakeApiServer()
    server.leases["stowplan"] = holder
    async with server.serving() as url, ApiConnection(url) as connection:
        with pytest.raises(NotLeading):
            await LeaseLeadership(connection, SETTINGS, 5.0, HandClock(), Metrics()).check()


async def test_a_binding_wants_a_look_that_began_a_moment_ago() -> None:
    """What is good enough elsewhere is not enough to bind once `fresh_s` have passed since the look began; until then bindings share one look."""
    server, clock = FakeApiServer(), HandClock()
    server.leases["stowplan"] = "scheduler-a_0f9a"
    async with server.serving() as url, ApiConnection(url) as connection:
        leadership = LeaseLeadership(connection, AT_ONCE, 5.0, clock, Metrics())
        await asyncio.gather(*(leadership.confirm() for _ in range(10)))
        clock.now = SETTINGS.fresh_s
        await leadership.confirm()
        assert len(server.requests) == 1
        server.leases["stowplan"] = "scheduler-b_77aa"
        clock.now += 0.001
        await leadership.check()
        with pytest.raises(NotLeading, match="names scheduler-b_77aa"):
            await leadership.confirm()
        assert len(server.requests) == 2


async def test_those_who_ask_together_share_a_look() -> None:
    """Where every binding looks anew (`fresh_s` 0), those who ask during a look take what it finds."""
    server = FakeApiServer()
    server.leases["stowplan"] = "scheduler-a_0f9a"
    async with server.serving() as url, ApiConnection(url) as connection:
        clock = HandClock()
        leadership = LeaseLeadership(connection, dataclasses.replace(AT_ONCE, fresh_s=0.0), 5.0, clock, Metrics())
        for _ in range(3):
            clock.now += 0.1
            await asyncio.gather(*(leadership.confirm() for _ in range(10)))
        assert len(server.requests) == 3


async def test_who_stood_still_during_a_look_does_not_bind_on_it() -> None:
    """A process that was stopped after it asked wakes up with an answer that may be minutes old: no binding rests on it."""
    clock = HandClock()

    class Slept(ApiConnection):
        async def request(self, *_: Any, **__: Any) -> bytes:
            clock.now += 60.0
            return b'{"spec": {"holderIdentity": "scheduler-a_0f9a"}}'

    leadership = LeaseLeadership(Slept("nowhere"), SETTINGS, 1.0, clock, Metrics())
    with pytest.raises(NotLeading, match="stood still"):
        await leadership.confirm()


async def test_who_takes_over_waits_for_the_former_holder_to_end() -> None:
    """A Lease that came from another pod lets nobody bind for `takeover_s`; losing it ends leading at once; a start is a takeover from oneself."""
    server, clock, metrics = FakeApiServer(), HandClock(), Metrics()
    server.leases["stowplan"] = "scheduler-b_77aa"
    async with server.serving() as url, ApiConnection(url) as connection:
        leadership = LeaseLeadership(connection, SETTINGS, 5.0, clock, metrics)
        with pytest.raises(NotLeading, match="names scheduler-b_77aa"):
            await leadership.confirm()
        server.leases["stowplan"], server.transitions = "scheduler-a_0f9a", 1
        clock.now = SETTINGS.fresh_s + 0.01
        with pytest.raises(NotLeading, match="only now"):
            await leadership.confirm()
        clock.now = SETTINGS.fresh_s + 0.01 + SETTINGS.takeover_s
        await leadership.confirm()
        assert metrics.leading._value.get() == 1
        server.leases["stowplan"] = "scheduler-b_77ab"
        clock.now += SETTINGS.fresh_s + 0.01
        with pytest.raises(NotLeading):
            await leadership.confirm()
        assert metrics.leading._value.get() == 0


async def test_who_was_only_just_started_waits_too() -> None:
    """What a killed process had promised nobody remembers, and what it had sent may still be carried out, though the Lease never changed hands."""
    server, clock = FakeApiServer(), HandClock()
    server.leases["stowplan"] = "scheduler-a_0f9a"
    async with server.serving() as url, ApiConnection(url) as connection:
        leadership = LeaseLeadership(connection, SETTINGS, 5.0, clock, Metrics())
        with pytest.raises(NotLeading, match="leads, or was started, only now"):
            await leadership.confirm()
        clock.now = SETTINGS.takeover_s
        await leadership.confirm()


class Never:
    """Somebody else leads, which only a look at the moment of writing shows."""

    def __init__(self, *, early: bool) -> None:
        self.early = early

    async def check(self) -> None:
        """Refuses at once, or was not told yet."""
        if self.early:
            raise NotLeading("the Lease names another")

    async def confirm(self) -> None:
        """Refuses."""
        raise NotLeading("the Lease names another")

    async def follow(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("early", [True, False])
async def test_who_does_not_lead_promises_nothing(*, early: bool) -> None:
    """A bind refused for want of the Lease, before the decision or after it, neither writes nor promises."""
    quay = Quay(Never(early=early), ant=10.0)
    quay.service("ant")
    quay.node("one")
    quay.pod("p", "ant")
    with pytest.raises(NotLeading):
        await quay.bind("p", "one")
    assert not quay.calls.written
    assert quay.left("one") == 4000


async def test_the_lease_is_looked_at_between_the_promise_and_the_write() -> None:
    """Between the last look at the Lease and the request to bind nothing is awaited: the look comes after decision and promise."""
    seen: list[str] = []

    class Watched(Never):
        async def confirm(self) -> None:
            seen.append(f"lease, promised {len(quay.view.reservations)}, asked {quay.toy.calls}, written {len(quay.calls.written)}")

    quay = Quay(Watched(early=False), ant=10.0)
    quay.service("ant")
    quay.node("one")
    quay.pod("p", "ant")
    await quay.bind("p", "one")
    assert seen == ["lease, promised 1, asked 1, written 0"]
    assert len(quay.calls.written) == 1


async def test_schedulers_that_die_and_follow_each_other_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """A scheduler that renews no more is told once, when its Lease is over; one that was started anew in the same pod is told from another pod's; and
    who renews again is told, too.
    """
    caplog.set_level("INFO")
    server, clock, metrics = FakeApiServer(), HandClock(), Metrics()

    def changes(change: str) -> float:
        return float(metrics.scheduler_changes.labels(change)._value.get())

    async with server.serving() as url, ApiConnection(url) as connection:
        leadership = LeaseLeadership(connection, SETTINGS, 5.0, clock, metrics)

        async def look(holder: str, renewed: str, at_s: float) -> list[str]:
            server.leases["stowplan"], server.renewed, clock.now = holder, renewed, at_s
            caplog.clear()
            with contextlib.suppress(NotLeading):
                await leadership.check()
            return [record.message for record in caplog.records if record.name.startswith("stowplan_extender")]

        assert await look("scheduler-a_1", "12:00:00", 0) == ["leading"]
        assert await look("scheduler-a_1", "12:00:02", 2) == []
        assert await look("scheduler-a_1", "12:00:02", 17) == []
        (dead,) = await look("scheduler-a_1", "12:00:02", 18)
        assert dead.startswith("nobody renews the scheduler's Lease")
        assert await look("scheduler-a_1", "12:00:02", 20) == []
        assert metrics.lease_unrenewed_seconds._value.get() == 18
        assert (changes("restarted"), changes("taken over")) == (0, 0)
        assert await look("scheduler-a_2", "12:00:21", 21) == ["the scheduler that leads was started anew", "the scheduler's Lease is renewed again"]
        assert metrics.lease_unrenewed_seconds._value.get() == 0
        # One that was told to stop leaves the Lease to nobody.
        assert await look("", "12:00:22", 23) == ["no longer leading"]
        assert await look("scheduler-b_1", "12:00:24", 25) == ["another pod's scheduler leads now"]
        assert (changes("restarted"), changes("taken over")) == (1, 1)

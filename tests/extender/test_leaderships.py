"""Only the extender beside the Lease's holder binds."""

import pytest
from stowplan_extender.connections import ApiConnection
from stowplan_extender.errors import NotLeading
from stowplan_extender.leaderships import LeaseLeadership
from stowplan_extender.settings import LeaseSettings
from support.fake_apiservers import FakeApiServer
from support.quays import Quay
from support.virtual_clocks import HandClock

SETTINGS = LeaseSettings(name="stowplan", namespace="stowplan-system", pod_name="scheduler-a", cache_s=1.0)


async def test_follows_the_lease_within_a_second() -> None:
    """The holder may bind; once the Lease names another pod it may not, after at most `cache_s`; and a Lease that cannot be read lets nobody bind."""
    server, clock = FakeApiServer(), HandClock()
    async with server.serving() as url, ApiConnection(url) as connection:
        leadership = LeaseLeadership(connection, SETTINGS, 5.0, clock)
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
            await LeaseLeadership(connection, SETTINGS, 5.0, HandClock()).check()


async def test_who_does_not_lead_promises_nothing() -> None:
    """A bind refused for want of the Lease neither writes nor promises."""

    class Never:
        async def check(self) -> None:
            raise NotLeading("the Lease names another")

    quay = Quay(Never(), ant=10.0)
    quay.service("ant")
    quay.node("one")
    quay.pod("p", "ant")
    with pytest.raises(NotLeading):
        await quay.bind("p", "one")
    assert not quay.calls.written
    assert quay.left("one") == 4000

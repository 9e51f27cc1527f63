"""A pod that was refused everywhere is touched once a node would take it, and only then."""

import pytest
from stowplan_extender.errors import NotLeading
from support.quays import Quay


async def refused(quay: Quay) -> None:
    """One node, full of a resident that a newcomer would harm: the newcomer's filter ends without a node."""
    quay.service("ant", slo_ms=13)
    quay.service("bee")
    quay.node("one", cores=4)
    quay.pod("resident", "ant")
    await quay.bind("resident", "one")
    quay.watch("resident")
    quay.pod("p", "bee")
    result = await quay.verbs.filter(quay.args("p", "one"))
    assert result.node_names == []
    assert quay.wake_ups.sleeping == 1


async def test_a_relaxed_objective_wakes_who_waited_for_it() -> None:
    """Nothing is touched while the verdict stands; once it changes, the pod is touched once and then left alone for a while."""
    quay = Quay(ant=10.0, bee=10.0)
    await refused(quay)
    quay.clock.now += 10
    await quay.wake_ups.look()
    assert quay.calls.touched == []

    quay.service("ant", slo_ms=60_000)
    await quay.wake_ups.look()
    assert quay.calls.touched == ["vision/p"]
    quay.clock.now += 10
    await quay.wake_ups.look()
    assert quay.calls.touched == ["vision/p"]
    quay.clock.now += 30
    await quay.wake_ups.look()
    assert quay.calls.touched == ["vision/p", "vision/p"]


async def test_who_was_refused_only_now_is_left_to_the_scheduler() -> None:
    """A filter of a moment ago is not second-guessed."""
    quay = Quay(ant=10.0, bee=10.0)
    await refused(quay)
    quay.service("ant", slo_ms=60_000)
    await quay.wake_ups.look()
    assert quay.calls.touched == []


async def test_who_found_a_place_or_is_gone_is_forgotten() -> None:
    """An accepted filter, or a pod that is no longer pending, ends the watch over it."""
    quay = Quay(ant=10.0, bee=10.0)
    await refused(quay)
    quay.node("two", cores=4)
    result = await quay.verbs.filter(quay.args("p", "one", "two"))
    assert result.node_names == ["two"]
    assert quay.wake_ups.sleeping == 0

    await quay.verbs.filter(quay.args("p", "one"))
    assert quay.wake_ups.sleeping == 1
    await quay.bind("p", "two")
    quay.watch("p")
    await quay.wake_ups.look()
    assert quay.wake_ups.sleeping == 0


class NotOurs:
    """Another replica leads."""

    async def check(self) -> None:
        """Never may."""
        raise NotLeading("another pod holds the Lease")


async def test_only_the_leading_replica_touches() -> None:
    """Two replicas see the same pods; the one beside the active scheduler writes."""
    quay = Quay(ant=10.0, bee=10.0)
    await refused(quay)
    quay.service("ant", slo_ms=60_000)
    quay.wake_ups._leadership = NotOurs()
    quay.clock.now += 10
    await quay.wake_ups.look()
    assert quay.calls.touched == []


@pytest.mark.parametrize("status", ["403", "500"])
async def test_a_touch_that_fails_is_tried_again(status: str) -> None:
    """The API server's refusal ends this round, and the next one tries anew."""
    quay = Quay(ant=10.0, bee=10.0)
    await refused(quay)
    quay.service("ant", slo_ms=60_000)
    quay.clock.now += 10
    quay.calls.mode = status
    await quay.wake_ups.look()
    quay.calls.mode = "ok"
    await quay.wake_ups.look()
    assert quay.calls.touched == ["vision/p"]

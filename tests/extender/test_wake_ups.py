"""A pod that was refused everywhere is touched once a node would take it, and only then."""

import pytest
from stowplan_extender.binding.leaderships import AlwaysLeading
from stowplan_extender.errors import NotLeading
from support.quays import Quay


async def full_node(quay: Quay) -> None:
    """One node, full of a resident that any newcomer would harm."""
    quay.service("ant", slo_ms=13)
    quay.service("bee")
    quay.node("one", cores=4)
    quay.pod("resident", "ant")
    await quay.bind("resident", "one")
    quay.watch("resident")


async def refused(quay: Quay) -> None:
    """On a full node the newcomer's filter ends without a node."""
    await full_node(quay)
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


class NotOurs(AlwaysLeading):
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


def found_unschedulable(quay: Quay, name: str) -> None:
    """The watch shows a pod for which the scheduler found no node."""
    quay.calls.pods[f"vision/{name}"]["status"] = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}
    quay.watch(name)


async def test_whom_a_former_process_refused_is_woken_once_by_the_next_one() -> None:
    """The extender was restarted beside a scheduler that was not: it refused nobody yet, and finds a pod that waits and that a node would take now."""
    quay = Quay(bee=10.0)
    quay.service("bee")
    quay.node("one", cores=4)
    quay.pod("fresh", "bee")
    quay.pod("left-over", "bee")
    found_unschedulable(quay, "left-over")
    quay.wake_ups.adopt()
    await quay.wake_ups.look()
    assert quay.calls.touched == [], "the scheduler may be trying it"
    quay.clock.now += 10
    await quay.wake_ups.look()
    assert quay.calls.touched == ["vision/left-over"]
    quay.clock.now += 100
    await quay.wake_ups.look()
    assert quay.calls.touched == ["vision/left-over"], "it may wait for something that is none of our business"


async def test_who_was_adopted_and_is_refused_here_is_ours_from_then_on() -> None:
    """A filter tells that it is we for whom the pod waits: it is woken whenever a node would take it."""
    quay = Quay(ant=10.0, bee=10.0)
    await refused(quay)
    quay.wake_ups._sleepers.clear()
    found_unschedulable(quay, "p")
    quay.wake_ups.adopt()
    await quay.verbs.filter(quay.args("p", "one"))
    quay.service("ant", slo_ms=60_000)
    for _ in range(2):
        quay.clock.now += 40
        await quay.wake_ups.look()
    assert quay.calls.touched == ["vision/p", "vision/p"]


async def test_who_is_not_seen_yet_is_not_forgotten() -> None:
    """The scheduler's watch is ahead of ours: it asks about a pod, we refuse it, and only seconds later see it. It is woken all the same; a pod that never
    shows up is forgotten after a while.
    """
    quay = Quay(ant=10.0, bee=10.0)
    await full_node(quay)
    for name in ("late", "never"):
        quay.pod(name, "bee", seen=False)
        await quay.verbs.filter(quay.args(name, "one"))
    quay.service("ant", slo_ms=60_000)
    quay.clock.now += 10
    await quay.wake_ups.look()
    assert quay.calls.touched == []
    quay.watch("late")
    await quay.wake_ups.look()
    assert quay.calls.touched == ["vision/late"]
    quay.clock.now += 30
    await quay.wake_ups.look()
    assert quay.wake_ups.sleeping == 1

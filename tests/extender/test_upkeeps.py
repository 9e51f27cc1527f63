"""A promise that no watch confirms is looked up, and a watch that is behind is begun anew."""

import pytest
from stowplan_extender.binding.upkeeps import Upkeep
from stowplan_extender.errors import NotYet
from support.quays import Quay


class Renewals:
    """Counts how often the watch was begun anew."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Once more."""
        self.count += 1


def a_quay() -> tuple[Quay, Upkeep, Renewals]:
    quay, renewals = Quay(ant=10.0), Renewals()
    quay.service("ant")
    quay.node("one", cores=1)
    quay.node("two", cores=1)
    quay.pod("p", "ant")
    return quay, Upkeep(quay.view, quay.calls, 5.0, renewals, quay.metrics), renewals


def found(quay: Quay, what: str) -> float:
    value: float = quay.metrics.overdue_promises.labels(what)._value.get()
    return value


async def test_a_silent_watch_never_frees_a_place_that_was_taken() -> None:
    """Half open or stuck, the watch shows nothing for ten minutes: the binding that was acknowledged stays, and the watch is begun anew after seconds."""
    quay, upkeep, renewals = a_quay()
    await quay.bind("p", "one")
    quay.clock.now = 4.9
    await upkeep.look()
    assert renewals.count == 0
    quay.clock.now = 5.0
    await upkeep.look()
    assert (renewals.count, found(quay, "bound")) == (1, 1)
    quay.clock.now = 600.0
    assert quay.left("one") == 0
    quay.watch("p")
    assert quay.left("one") == 0
    await upkeep.look()
    assert renewals.count == 1


async def test_a_lost_answer_is_found_out_though_the_watch_is_silent() -> None:
    """The answer was lost and the pod could not be read: once it can be, the promise becomes one that lasts."""
    quay, upkeep, renewals = a_quay()
    quay.calls.mode = "late"
    with pytest.raises(NotYet):
        await quay.bind("p", "one")
    quay.calls.mode = "ok"
    quay.clock.now = 6.0
    await upkeep.look()
    assert (renewals.count, found(quay, "waiting")) == (0, 1)
    quay.calls.arrive()
    await upkeep.look()
    assert (renewals.count, found(quay, "bound")) == (1, 1)
    quay.clock.now = 3600.0
    assert quay.left("one") == 0


async def test_a_pod_that_is_gone_or_stands_elsewhere_frees_its_place() -> None:
    """Deleted while the watch was silent, finished, or bound to another node by an earlier request: the place is free again."""
    quay, upkeep, renewals = a_quay()
    await quay.bind("p", "one")
    quay.calls.pods["vision/p"]["status"]["phase"] = "Succeeded"
    quay.clock.now = 5.0
    await upkeep.look()
    assert quay.left("one") == 1000
    quay.pod("q", "ant")
    await quay.bind("q", "one")
    del quay.calls.pods["vision/q"]
    quay.clock.now = 10.0
    await upkeep.look()
    assert quay.left("one") == 1000
    quay.pod("r", "ant")
    quay.calls.mode = "away"
    with pytest.raises(NotYet):
        await quay.bind("r", "one")
    quay.calls.mode = "ok"
    quay.calls.pods["vision/r"]["spec"]["nodeName"] = "two"
    quay.clock.now = 15.0
    await upkeep.look()
    assert quay.left("one") == 1000
    assert (renewals.count, found(quay, "gone"), found(quay, "elsewhere")) == (0, 2, 1)


async def test_nothing_is_concluded_from_silence() -> None:
    """While the API server does not answer, promises stay as they are."""
    quay, upkeep, renewals = a_quay()
    await quay.bind("p", "one")
    quay.calls.mode = "away"
    quay.clock.now = 30.0
    await upkeep.look()
    assert (quay.left("one"), renewals.count, found(quay, "unknown")) == (0, 0, 1)

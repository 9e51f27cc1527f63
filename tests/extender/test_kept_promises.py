"""A promise outlives what a late or silent watch says."""

import copy

import pytest
from stowplan_extender.errors import PlaceLost
from support.quays import Quay


async def test_an_event_of_the_time_before_frees_no_place() -> None:
    """A watch that is behind shows the pod as it was, without a node: its promise holds, and nobody else gets the place."""
    quay = Quay(ant=10.0)
    quay.service("ant")
    quay.node("one", cores=1)
    quay.pod("p", "ant", seen=False)
    quay.pod("q", "ant")
    before = copy.deepcopy(quay.calls.pods["vision/p"])
    await quay.bind("p", "one")
    now = quay.calls.pods["vision/p"]
    quay.calls.pods["vision/p"] = before
    quay.watch("p")
    quay.calls.pods["vision/p"] = now
    assert quay.left("one") == 0
    with pytest.raises(PlaceLost, match="no free slice"):
        await quay.bind("q", "one")


async def test_a_silent_watch_frees_no_place() -> None:
    """A binding that is known to be written keeps its place though no watch shows it for an hour."""
    quay = Quay(ant=10.0)
    quay.service("ant")
    quay.node("one", cores=1)
    quay.pod("p", "ant")
    await quay.bind("p", "one")
    quay.clock.now = 3_600.0
    assert quay.left("one") == 0

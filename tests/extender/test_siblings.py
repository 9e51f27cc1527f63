"""Replicas of one service do not keep each other out while some of them have no node yet."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_extender.errors import PlaceLost
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.services import service_of
from support.harbours import service_json
from support.quays import Quay


def a_quay(replicas: int, rps: int, slo_ms: int = 100, cores: int = 4) -> Quay:
    """One node, and a service of 10 ms of work a request."""
    quay = Quay(ant=10.0, bee=10.0)
    quay.node("one", cores=cores)
    plain = service_json("ant", slo_ms, rps) | {"status": service_json("ant")["status"] | {"replicas": replicas}}
    plain["spec"]["replicas"] = {"min": replicas, "max": replicas}
    quay.view.put_service(service_of(decoding.from_plain(plain, InferenceServiceManifest)))
    return quay


async def bind_all(quay: Quay, replicas: int) -> int:
    """Binds replica after replica, each seen on the watch before the next; how many were let in."""
    for index in range(replicas):
        quay.pod(f"p{index}", "ant")
        if not (await quay.verbs.filter(quay.args(f"p{index}", "one"))).node_names:
            return index
        await quay.bind(f"p{index}", "one")
        quay.watch(f"p{index}")
    return replicas


async def test_a_replica_is_let_beside_the_one_whose_load_it_takes() -> None:
    """Alone the first of three would be overloaded, and even two are not enough; the node takes all three."""
    assert await bind_all(a_quay(replicas=3, rps=150), 3) == 3


async def test_strangers_are_kept_off_servers_that_wait_for_their_siblings() -> None:
    """As long as one server carries the load of two, nobody else is put beside it; once both are there, somebody may be."""
    quay = a_quay(replicas=2, rps=120)
    quay.service("bee", 500)
    await bind_all(quay, 1)
    quay.pod("q", "bee")
    refused = await quay.verbs.filter(quay.args("q", "one"))
    assert refused.failed_nodes == {"one": "would push resident vision/ant over its SLO of 100 ms: it could not sustain its load"}
    quay.pod("p1", "ant")
    await quay.bind("p1", "one")
    quay.watch("p1")
    assert (await quay.verbs.filter(quay.args("q", "one"))).node_names == ["one"]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 300), st.integers(13, 60))
def test_who_fits_together_comes_together(replicas: int, rps: int, slo_ms: int) -> None:
    """Where the last replica would be accepted beside all others as planned, none of those before it was refused."""

    async def play() -> None:
        whole = a_quay(replicas, rps, slo_ms)
        for index in range(replicas):
            whole.pod(f"p{index}", "ant")
            if index < replicas - 1:
                whole.calls.pods[f"vision/p{index}"]["spec"]["nodeName"] = "one"
                whole.watch(f"p{index}")
        last = f"p{replicas - 1}"
        together = bool((await whole.verbs.filter(whole.args(last, "one"))).node_names)
        came = await bind_all(a_quay(replicas, rps, slo_ms), replicas)
        assert (came == replicas) is together

    asyncio.run(play())


async def test_neighbours_of_others_still_count_for_a_replica() -> None:
    """A sibling's coming is refused where somebody else would come to harm."""
    quay = a_quay(replicas=2, rps=120)
    quay.service("bee", 16)
    quay.pod("q", "bee")
    await quay.bind("q", "one")
    quay.watch("q")
    quay.pod("p0", "ant")
    await quay.bind("p0", "one")
    quay.watch("p0")
    quay.pod("p1", "ant")
    with pytest.raises(PlaceLost, match="would push resident vision/bee over its SLO of 16 ms"):
        await quay.bind("p1", "one")


def moving(rps: int = 150, former: int = 4) -> Quay:
    """So many servers on single cores, and their service as it is once one on four cores is to take their place."""
    quay = a_quay(replicas=1, rps=rps, cores=10)
    for index in range(former):
        quay.pod(f"p{index}", "ant")
        quay.calls.pods[f"vision/p{index}"]["spec"]["nodeName"] = "one"
        quay.watch(f"p{index}")
    quay.pod("larger", "ant", cpu="4")
    return quay


async def test_servers_of_a_former_rung_do_not_keep_out_the_one_that_replaces_them() -> None:
    """None of the four could take the whole load, and none has to: they share it until the larger one, for which there is room beside them, serves."""
    quay = moving()
    await quay.bind("larger", "one")
    assert quay.calls.pods["vision/larger"]["spec"]["nodeName"] == "one"


async def test_strangers_are_kept_off_servers_of_a_former_rung() -> None:
    """What is planned for the service is more than each of them could take; until they are gone nobody else is put beside them."""
    quay = moving()
    quay.service("bee", 500)
    quay.pod("q", "bee")
    refused = await quay.verbs.filter(quay.args("q", "one"))
    assert refused.failed_nodes == {"one": "would push resident vision/ant over its SLO of 100 ms: it could not sustain its load"}


async def test_a_server_that_replaces_others_still_spares_strangers() -> None:
    """The larger server is refused where somebody else would come to harm."""
    quay = moving()
    quay.service("bee", 25)
    quay.pod("q", "bee")
    quay.calls.pods["vision/q"]["spec"]["nodeName"] = "one"
    quay.watch("q")
    with pytest.raises(PlaceLost, match="would push resident vision/bee over its SLO of 25 ms"):
        await quay.bind("larger", "one")

"""Watches that lie: silent, torn, swallowing, or with a megabyte at once. Nothing is promised twice, and everything comes back by itself."""

import itertools
import json
from collections.abc import Iterator

import pytest
from stowplan_fleet import keys
from support.components import SYSTEM_NAMESPACE
from support.controlplane import apply, node, wait_until
from support.objectives import between, upper_ms
from support.stages import Stage, inference_service
from support.troubles import CROWDED, QUICK, QUICK_CORE, await_event, await_named, await_node, by_hand, node_of
from support.weathers import Weather

pytestmark = [pytest.mark.controlplane, pytest.mark.faults]
PODS = "/api/v1/pods"


@pytest.fixture
def served(stage: Stage, weather: Weather) -> Iterator[Stage]:
    """A stage with one service whose objective holds for one server a node and not for two; its first server runs on node `only`."""
    alone = stage.ask("resnet50", QUICK_CORE, 1)
    beside = stage.ask("resnet50", QUICK_CORE, 1, [stage.occupant("resnet50", QUICK_CORE, 1)])
    stage.add_nodes(node("only", "4", QUICK))
    stage.upload("resnet50")
    weather.clear()
    stage.apply(inference_service("lone", "resnet50", between(upper_ms(alone), upper_ms(beside)), slice_classes=[QUICK_CORE]))
    stage.await_bound("lone")
    yield stage
    # Before the stage is cleared: the extender has to see that.
    weather.clear()


def test_a_silent_watch_hides_no_binding_of_ours(served: Stage, weather: Weather) -> None:
    """The watch on pods says nothing any more, though it stays open: what we bound ourselves still counts, and seconds later the watch is begun anew."""
    weather.silent.add(PODS)
    served.add_nodes(node("second", "4", QUICK))
    served.apply(by_hand("one-more", "lone"))
    assert await_node(served, "one-more") == "second"
    served.apply(by_hand("too-many", "lone"))
    served.await_refusal("lone", CROWDED)
    await_named(served.extender, "does not show our bindings", "stowplan_extender_view_lists_total", resource="pods", cause="behind")
    assert served.extender.risen("stowplan_extender_overdue_promises_total", found="bound") > 0
    assert node_of(served, "too-many") == ""

    weather.clear()
    served.cluster.kubectl("delete", "pod", "one-more", "-n", served.namespace, "--grace-period=0", "--force")
    assert await_node(served, "too-many") == "second"


def test_a_watch_torn_in_the_middle_of_a_line_goes_on_where_it_was(served: Stage, weather: Weather) -> None:
    """Half an event and then nothing: the connection is made anew from the last whole event, so that the torn one arrives after all."""
    served.add_nodes(node("second", "4", QUICK))
    torn = weather.count("torn")
    weather.tear.add(PODS)
    served.apply(by_hand("one-more", "lone"))
    assert await_node(served, "one-more") == "second"
    wait_until(lambda: weather.count("torn") > torn, 10, "a torn line")
    await_named(served.extender, "out of touch with the API server", "stowplan_extender_watches_broken_total", resource="pods")
    served.apply(by_hand("too-many", "lone"))
    served.await_refusal("lone", CROWDED)


def test_an_event_of_a_megabyte_is_read(served: Stage, weather: Weather) -> None:
    """The largest object that an API server takes comes over the watch in one line; decisions go on."""
    labels = {keys.DESCRIPTORS_LABEL: "true"}
    large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large", "namespace": SYSTEM_NAMESPACE, "labels": labels}, "data": {}}
    apply(served.cluster, large)
    events = served.extender.metric("stowplan_extender_view_events_total", resource="configmaps")
    broken = served.extender.metric("stowplan_extender_watches_broken_total", resource="configmaps")
    try:
        served.cluster.kubectl("replace", "-f", "-", stdin=json.dumps(large | {"data": {"notes.txt": "x" * 1_040_000}}))
        wait_until(lambda: weather.longest_line > 1_000_000, 10, "an event of a megabyte")
        wait_until(lambda: served.extender.metric("stowplan_extender_view_events_total", resource="configmaps") > events, 10, "the event counted")
        await_named(served.extender, "a large object", "stowplan_extender_large_objects_total", resource="configmaps")
        told = next(line for line in map(json.loads, served.extender.log().splitlines()) if line["msg"] == "a large object")
        assert told["object"]["name"] == "large"
        assert told["bytes"] > 1_000_000
        assert served.extender.metric("stowplan_extender_watches_broken_total", resource="configmaps") == broken
        served.add_nodes(node("second", "4", QUICK))
        served.apply(by_hand("one-more", "lone"))
        assert await_node(served, "one-more") == "second"
    finally:
        served.cluster.kubectl("delete", "configmap", "large", "-n", SYSTEM_NAMESPACE)


def test_a_missed_delete_is_healed_by_the_next_list(served: Stage, weather: Weather) -> None:
    """A resident goes and the event of it never arrives: its place is free again after the next routine list, and the pod that waits is woken."""
    with served.extender.differently(API_RELIST_S="6", WAKE_UPS_EVERY_S="1"):
        served.add_nodes(node("second", "4", QUICK))
        served.apply(by_hand("resident-0", "lone"))
        assert await_node(served, "resident-0") == "second"
        swallowed = weather.count("swallowed")
        # Should the watch be between two routine lists just when the event comes, nobody misses it, and it is tried with the next resident.
        for index in itertools.takewhile(lambda _: weather.count("swallowed") == swallowed, range(3)):
            waiting = f"resident-{index + 1}"
            served.apply(by_hand(waiting, "lone"))
            await_event(served, waiting, CROWDED)
            weather.swallow.add((PODS, '"type":"DELETED"'))
            served.cluster.kubectl("delete", "pod", f"resident-{index}", "-n", served.namespace, "--grace-period=0", "--force")
            assert await_node(served, waiting) == "second"
            weather.swallow.clear()
        assert weather.count("swallowed") > swallowed
        await_named(served.extender, "listing again", "stowplan_extender_view_lists_total", resource="pods", cause="routine")
        await_named(served.extender, "woken: a node would take it now", "stowplan_extender_wake_ups_total", outcome="woken")

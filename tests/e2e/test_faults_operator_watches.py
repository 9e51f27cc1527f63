"""The operator's watches in trouble: silent, torn, or with a megabyte at once. Nothing stays unseen, and everything comes back by itself."""

import json

import pytest
from support.controlplane import wait_until
from support.operators_in_weather import Scene

pytestmark = [pytest.mark.controlplane, pytest.mark.faults]
SERVICES = "/inferenceservices"
BROKEN = "stowplan_operator_watches_broken_total"
BEGUN_ANEW = "a watch broke off; it is begun anew where it was"


def test_a_silent_watch_is_begun_anew(scene: Scene) -> None:
    """The watch on services says nothing any more, though it stays open: after `api.idle_s` it is begun anew where it was, and what it had kept is seen."""
    with scene.operator.differently(API_IDLE_S="3"):
        muted = scene.weather.count("muted")
        scene.weather.mute.add(SERVICES)
        scene.serve("unheard")
        wait_until(lambda: scene.weather.count("muted") > muted, 0, "a watch muted")
        scene.await_named(BEGUN_ANEW, BROKEN, resource="inferenceservices", how="silent")
        scene.await_ready("unheard")


def test_a_watch_torn_in_the_middle_of_a_line_goes_on_where_it_was(scene: Scene) -> None:
    """Half an event and then nothing: the connection is made anew from the last whole event, so that the torn one arrives after all; no shift ends for it."""
    torn = scene.weather.count("torn")
    scene.weather.tear.add(SERVICES)
    scene.serve("torn")
    wait_until(lambda: scene.weather.count("torn") > torn, 0, "a torn line")
    scene.await_named(BEGUN_ANEW, BROKEN, resource="inferenceservices", how="torn")
    scene.await_ready("torn")
    assert scene.operator.metric("stowplan_operator_shifts_broken_total") == 0


def test_an_event_of_a_megabyte_is_read(scene: Scene) -> None:
    """The largest object that an API server takes comes over the watch in one line; it is named, the watch goes on, and services are looked after."""
    large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"}, "data": {"notes.txt": "x" * 1_040_000}}
    scene.stage.cluster.kubectl("create", "-n", scene.stage.namespace, "-f", "-", stdin=json.dumps(large))
    wait_until(lambda: scene.weather.longest_line > 1_000_000, 0, "an event of a megabyte")
    scene.await_named("a large object", "stowplan_operator_large_objects_total", resource="configmaps")
    (told,) = [line for line in map(json.loads, scene.operator.log().splitlines()) if line["msg"] == "a large object" and line["object"]["name"] == "large"]
    assert told["object"]["ns"] == scene.stage.namespace
    assert told["bytes"] > 1_040_000
    scene.serve("beside")
    scene.await_ready("beside")
    assert scene.operator.metric(BROKEN, resource="configmaps") == 0
    assert scene.operator.metric("stowplan_operator_shifts_broken_total") == 0

"""The API server in trouble: restarted, slow, refusing, answering late. Pods wait, nothing is given twice, and everything comes back by itself."""

from collections.abc import Iterator

import pytest
from stowplan_fleet import keys
from support.controlplane import node, wait_until
from support.stages import Stage, inference_service
from support.troubles import QUICK, QUICK_CORE, again, await_named, await_node, by_hand, node_of
from support.weathers import Weather

pytestmark = [pytest.mark.controlplane, pytest.mark.faults]


@pytest.fixture
def served(stage: Stage, weather: Weather) -> Iterator[Stage]:
    """A stage with a patient service that runs on node `only`, which has room for three more of its servers."""
    weather.clear()
    stage.add_nodes(node("only", "4", QUICK))
    stage.upload("squeezenet")
    stage.apply(inference_service("patient", "squeezenet", 60_000, slice_classes=[QUICK_CORE]))
    stage.await_bound("patient")
    yield stage
    weather.clear()


@pytest.mark.parametrize("status", [429, 500, 410])
def test_refused_bindings_are_tried_again(served: Stage, weather: Weather, status: int) -> None:
    """Bindings are answered with that status for a while: the pod waits, holds no place, and is bound once it is over."""
    refused = weather.count("/binding")
    weather.refuse["/binding"] = status
    served.apply(by_hand("one-more", "patient"))
    wait_until(lambda: weather.count("/binding") > refused, 20, "a binding tried")
    await_named(served.extender, f"the API server answered {status}", "stowplan_extender_refusals_total", verb="bind")
    assert node_of(served, "one-more") == ""

    weather.clear()
    assert await_node(served, "one-more") == "only"


@pytest.mark.parametrize("status", [429, 500, 410])
def test_refused_watches_are_resumed_or_listed_anew(served: Stage, weather: Weather, status: int) -> None:
    """Every watch on pods is cut and refused with that status for a while; 410 means listing again. Afterwards the view is what the cluster is."""
    watched = weather.count("/api/v1/pods watch")
    weather.refuse["/api/v1/pods watch"] = status
    weather.tear.add("/api/v1/pods")
    served.apply(by_hand("one-more", "patient"))
    await_node(served, "one-more")
    wait_until(lambda: weather.count("/api/v1/pods watch") > watched, 20, "a watch refused")
    if status == 410:
        await_named(served.extender, "the API server answered 410", "stowplan_extender_view_lists_total", resource="pods", cause="gone")
    else:
        await_named(served.extender, f"the API server answered {status}", "stowplan_extender_watches_broken_total", resource="pods")
    weather.clear()
    served.apply(by_hand("and-another", "patient"))
    assert await_node(served, "and-another") == "only"
    # The fourth and last core is seen taken, the fifth pod is not bound: the view was brought up to date.
    served.apply(by_hand("fourth", "patient"))
    assert await_node(served, "fourth") == "only"


def test_a_binding_answered_late_though_it_succeeded_is_found_out(served: Stage, weather: Weather) -> None:
    """The API server carries the binding out and answers after we gave up: the pod itself tells, the place is taken once, nobody is bound twice."""
    weather.late_s["/binding"] = 3.0
    served.apply(by_hand("one-more", "patient"))
    assert await_node(served, "one-more") == "only"
    weather.clear()
    weather.lose.add("/binding")
    served.apply(by_hand("and-another", "patient"))
    assert await_node(served, "and-another") == "only"
    await_named(served.extender, "bound although the answer said otherwise", "stowplan_extender_doubtful_bindings_total", found="bound")


def test_an_api_server_that_is_slow_costs_time_and_nothing_else(served: Stage, weather: Weather) -> None:
    """Every request waits, and a binding longer than we do: it is given up on and tried again; what the scheduler tries meanwhile never takes more than
    there is.
    """
    weather.wait_s["/"] = 1.5
    for index in range(4):
        served.apply(by_hand(f"more-{index}", "patient"))
    await_named(served.extender, "whether the pod was bound is not known", "stowplan_extender_doubtful_bindings_total", found="unknown")
    await_named(served.extender, '"cannot answer"', "stowplan_extender_refusals_total", verb="bind", cause="NotYet")
    weather.clear()
    bound = wait_until(lambda: [pod for pod in served.pods("patient") if pod["spec"].get("nodeName")][3:], 60, lambda: served.tell("patient"))
    assert len(bound) == 1
    assert len([pod for pod in served.pods("patient") if not pod["spec"].get("nodeName")]) == 1


def test_a_restarted_api_server_is_found_again(served: Stage) -> None:
    """The API server is killed and started again: the watches resume, a pod made afterwards is bound, and the extender says what it went through."""
    again(served.cluster, "kube-apiserver")
    served.cluster.await_ready("kube-apiserver", lambda: served.cluster.answers("/readyz"))
    await_named(served.extender, "out of touch with the API server", "stowplan_extender_watches_broken_total")
    wait_until(lambda: _takes(served), 30, "pods taken again")
    assert await_node(served, "one-more", 60) == "only"
    assert keys.BOUND_SLICE_ANNOTATION in next(pod for pod in served.pods() if pod["metadata"]["name"] == "one-more")["metadata"]["annotations"]


def _takes(stage: Stage) -> bool:
    try:
        stage.apply(by_hand("one-more", "patient"))
    except Exception:  # noqa: BLE001 -- not all of it is up yet: asked again
        return False
    return True

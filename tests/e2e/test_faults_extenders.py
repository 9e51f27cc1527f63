"""The extender killed after each of its writes: what was written counts, nothing is given twice, and everything comes back by itself."""

from collections.abc import Iterator

import pytest
from stowplan_fleet import keys
from support.controlplane import node, wait_until
from support.objectives import between, upper_ms
from support.stages import Stage, inference_service
from support.troubles import CROWDED, QUICK, QUICK_CORE, await_event, await_node, by_hand, node_of
from support.weathers import Weather

pytestmark = [pytest.mark.controlplane, pytest.mark.faults]


@pytest.fixture
def served(stage: Stage, weather: Weather) -> Iterator[Stage]:
    """A stage with a service whose objective holds for one server a node and not for two; its first server runs on node `only`."""
    alone = stage.ask("resnet50", QUICK_CORE, 1)
    beside = stage.ask("resnet50", QUICK_CORE, 1, [stage.occupant("resnet50", QUICK_CORE, 1)])
    stage.add_nodes(node("only", "4", QUICK))
    stage.upload("resnet50")
    stage.apply(inference_service("lone", "resnet50", between(upper_ms(alone), upper_ms(beside)), slice_classes=[QUICK_CORE]))
    stage.await_condition("lone", "Ready", "True")
    yield stage
    weather.clear()


def killed_after(stage: Stage, weather: Weather, write: str) -> list[str]:
    """Kills the extender right after a write whose `METHOD path` holds the text was carried out, before it hears of it; answers what was written then."""
    written: list[str] = []

    def strike(what: str) -> None:
        if write in what and not written:
            written.append(what)
            stage.extender.kill()

    weather.carried_out = strike
    return written


def come_back(stage: Stage, weather: Weather, started_s: float) -> None:
    """Starts it again, as a kubelet would; a metric and a log line name the restart."""
    weather.carried_out = None
    stage.extender.start()
    wait_until(lambda: stage.extender.metric("process_start_time_seconds") > started_s, 0, "a later start")
    assert stage.extender.logged('"msg": "serving"')


def test_killed_after_a_binding_the_place_stays_taken(served: Stage, weather: Weather) -> None:
    """The API server carried the binding out, the extender died before it heard of it, the scheduler got no answer: the pod is bound with its decision, and the
    next extender gives the place to nobody else.
    """
    started_s = served.extender.metric("process_start_time_seconds")
    served.add_nodes(node("second", "4", QUICK))
    written = killed_after(served, weather, "/binding")
    served.apply(by_hand("one-more", "lone"))
    wait_until(lambda: written, 0, lambda: served.tell("lone"))
    wait_until(lambda: not served.cluster.running("extender"), 0, "the extender dies")
    come_back(served, weather, started_s)
    assert await_node(served, "one-more") == "second"
    pod = next(pod for pod in served.pods() if pod["metadata"]["name"] == "one-more")
    assert pod["metadata"]["annotations"][keys.BOUND_SLICE_ANNOTATION] == QUICK_CORE
    served.apply(by_hand("too-many", "lone"))
    await_event(served, "too-many", CROWDED)
    assert node_of(served, "too-many") == ""


def test_killed_while_a_pod_waits_the_next_one_wakes_it(served: Stage, weather: Weather) -> None:
    """A pod was refused, the extender died, and only then its verdict changes: nobody remembers the refusal, and the pod is woken all the same. The extender
    dies again right after that write, which is harmless.
    """
    started_s = served.extender.metric("process_start_time_seconds")
    served.apply(by_hand("waiting", "lone"))
    await_event(served, "waiting", CROWDED)
    served.await_quiet("waiting")
    served.extender.kill()
    served.apply(inference_service("lone", "resnet50", 60_000, slice_classes=[QUICK_CORE]))
    written = killed_after(served, weather, "PATCH /api/v1/namespaces")
    served.extender.start()
    wait_until(lambda: written, 0, lambda: served.tell("lone"))
    wait_until(lambda: not served.cluster.running("extender"), 0, "the extender dies")
    come_back(served, weather, started_s)
    assert await_node(served, "waiting") == "only"
    pod = next(pod for pod in served.pods() if pod["metadata"]["name"] == "waiting")
    assert keys.RETRY_ANNOTATION in pod["metadata"]["annotations"]

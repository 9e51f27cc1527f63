"""The scheduler killed after each kind of its writes, and started again as a kubelet does it: nothing is given twice, and everything comes back by itself."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from stowplan_fleet import keys
from support.components import Extender
from support.controlplane import node, wait_until
from support.objectives import between, upper_ms
from support.replicas import kill_supervised, supervised_replica
from support.stages import Stage, inference_service
from support.troubles import CROWDED, QUICK, QUICK_CORE, await_event, await_named, await_node, by_hand, node_of, plain_pod
from support.weathers import Weather, weather_before

pytestmark = [pytest.mark.controlplane, pytest.mark.faults]


@dataclass(frozen=True, slots=True)
class Replica:
    """A stage with one replica of the scheduler's pod; its scheduler and its extender stand in weather of their own."""

    stage: Stage
    extender: Extender
    of_scheduler: Weather
    of_extender: Weather

    def killed_after(self, weather: Weather, write: str) -> list[str]:
        """Kills the scheduler right after a write whose `METHOD path` holds the text was carried out, before it hears of it; answers what was written then."""
        written: list[str] = []

        def strike(what: str) -> None:
            if write in what and not written and kill_supervised(self.stage.cluster, "pod-a"):
                written.append(what)

        weather.carried_out = strike
        return written

    def restarts(self) -> float:
        """How often the extender saw that its scheduler was started anew."""
        return self.extender.risen("stowplan_extender_scheduler_changes_total", change="restarted")


@pytest.fixture
def served(stage: Stage, weather: Weather) -> Iterator[Replica]:
    """A service whose objective holds for one server a node and not for two, by the replica; its first server runs on node `only`."""
    weather.clear()
    alone = stage.ask("resnet50", QUICK_CORE, 1)
    beside = stage.ask("resnet50", QUICK_CORE, 1, [stage.occupant("resnet50", QUICK_CORE, 1)])
    stage.add_nodes(node("only", "4", QUICK))
    stage.upload("resnet50")
    with (
        weather_before(stage.cluster, stage.cluster.tokens["system:kube-scheduler"]) as of_scheduler,
        supervised_replica(stage, weather, of_scheduler.url) as extender,
    ):
        stage.apply(inference_service("lone", "resnet50", between(upper_ms(alone), upper_ms(beside)), slice_classes=[QUICK_CORE]))
        stage.await_bound("lone")
        yield Replica(stage, extender, of_scheduler, weather)
        weather.clear()


def test_killed_after_each_kind_of_its_writes_it_takes_up_where_it_was(served: Replica) -> None:
    """It writes its Lease, the status of a pod that nobody takes, an event, the binding of a pod that is none of ours, and through its extender the binding
    of one that is. Killed after each of them: who waits is placed once there is room, who is bound stays bound, and the extender names each restart.
    """
    stage = served.stage
    for restarts, write in enumerate(("/leases/", "/status", "/events"), start=1):
        kind = write.strip("/")
        written = served.killed_after(served.of_scheduler, write)
        stage.apply(by_hand(f"after-{kind}", "lone"))
        _await_restart(served, written, restarts)
        stage.add_nodes(node(f"room-{kind}", "4", QUICK))
        assert await_node(stage, f"after-{kind}") == f"room-{kind}"

    stage.add_nodes(node("for-others", "4"))
    written = served.killed_after(served.of_scheduler, "/binding")
    stage.apply(plain_pod("none-of-ours", "100m", schedulerName=keys.SCHEDULER_NAME, nodeSelector={"kubernetes.io/hostname": "for-others"}))
    _await_restart(served, written, 4)
    assert await_node(stage, "none-of-ours") == "for-others"

    stage.add_nodes(node("room-binding", "4", QUICK))
    written = served.killed_after(served.of_extender, "/binding")
    stage.apply(by_hand("after-binding", "lone"))
    _await_restart(served, written, 5)
    assert await_node(stage, "after-binding") == "room-binding"
    stage.apply(by_hand("too-many", "lone"))
    await_event(stage, "too-many", CROWDED)
    assert node_of(stage, "too-many") == ""

    for what in ("POST", "PUT", "PATCH"):
        assert served.of_scheduler.count(what) > 0
    kinds = ("/leases", "/status", "/events", "/binding")
    writes = {entry for entry in served.of_scheduler.seen if entry.split()[0] in {"POST", "PUT", "PATCH", "DELETE"}}
    assert [entry for entry in writes if not any(kind in entry for kind in kinds)] == [], "a write of a kind that it was not killed after"


def _await_restart(served: Replica, written: list[str], restarts: int) -> None:
    wait_until(lambda: written, 0, lambda: f"the write; {served.stage.tell('lone')}")
    wait_until(lambda: served.restarts() >= restarts, 0, f"{restarts} restarts seen")
    await_named(served.extender, "the scheduler that leads was started anew", "stowplan_extender_scheduler_changes_total", change="restarted")
    served.of_scheduler.carried_out = served.of_extender.carried_out = None


def test_one_that_stays_dead_is_named_until_it_is_back(served: Replica) -> None:
    """Nobody renews the Lease: the extender says so once it is over. A pod that came meanwhile is placed when the scheduler is there again."""
    stage = served.stage
    stage.cluster.stop("scheduler-pod-a", kill=True)
    stage.add_nodes(node("second", "4", QUICK))
    stage.apply(by_hand("one-more", "lone"))
    await_named(served.extender, "nobody renews the scheduler's Lease", "stowplan_extender_lease_unrenewed_seconds")
    assert served.extender.metric("stowplan_extender_lease_unrenewed_seconds") > 4
    assert node_of(stage, "one-more") == ""
    stage.cluster.start_again("scheduler-pod-a")
    assert await_node(stage, "one-more") == "second"
    await_named(served.extender, "the scheduler's Lease is renewed again", "stowplan_extender_scheduler_changes_total", change="restarted")
    wait_until(lambda: served.extender.metric("stowplan_extender_lease_unrenewed_seconds") < 4, 0, "a Lease that is renewed")

"""Schedulers in trouble: two replicas and a real Lease, a leader lost between filter and bind, a hanging extender, strangers in between, a clock that jumps."""

import json
import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from stowplan_extender.settings import LeaseSettings
from stowplan_fleet import keys
from support.components import answers
from support.controlplane import PATIENCE_S, apply, node, wait_until
from support.objectives import between, upper_ms
from support.replicas import leader, two_replicas
from support.stages import Stage, inference_service
from support.troubles import CROWDED, QUICK, QUICK_CORE, await_named, await_node, by_hand, create_pod, node_of, plain_pod, shiftable_clock, stopped
from support.weathers import Weather
from support.wiretaps import Call

pytestmark = [pytest.mark.controlplane, pytest.mark.faults]


@pytest.fixture
def served(stage: Stage, weather: Weather) -> Stage:
    """A stage with a service whose objective holds for one server a node and not for two; its first server runs on node `only`."""
    weather.clear()
    alone = stage.ask("resnet50", QUICK_CORE, 1)
    beside = stage.ask("resnet50", QUICK_CORE, 1, [stage.occupant("resnet50", QUICK_CORE, 1)])
    stage.add_nodes(node("only", "4", QUICK))
    stage.upload("resnet50")
    stage.apply(inference_service("lone", "resnet50", between(upper_ms(alone), upper_ms(beside)), slice_classes=[QUICK_CORE]))
    stage.await_bound("lone")
    return stage


def test_a_leader_lost_between_filter_and_bind_binds_nothing(served: Stage, weather: Weather) -> None:
    """The first replica has filtered, and its scheduler is gone before it binds: a bind that still reaches its extender is refused, for the Lease names the
    other. That one places the pod, after the moment it waits for the former leader's last requests.
    """
    with two_replicas(served, weather) as extenders:
        served.add_nodes(node("second", "4", QUICK))
        wait_until(lambda: extenders["pod-a"].metric("stowplan_extender_leading") == 1, 20, "pod-a knows that it leads")
        assert extenders["pod-b"].metric("stowplan_extender_leading") == 0
        served.cluster.stop("scheduler-pod-a", kill=True)
        create_pod(served.cluster, served.namespace, by_hand("one-more", "lone"))
        pod = next(pod for pod in served.pods() if pod["metadata"]["name"] == "one-more")
        body = {"PodName": "one-more", "PodNamespace": served.namespace, "PodUID": pod["metadata"]["uid"], "Node": "second"}
        late = ask(extenders["pod-b"].port, "bind", body)
        assert "names pod-a" in late["Error"] or "names nobody" in late["Error"]
        wait_until(lambda: leader(served.cluster) == "pod-b", 30, "pod-b leads")
        time.sleep(LeaseSettings().fresh_s)  # for so long a look at the Lease that began before is good
        refused = ask(extenders["pod-a"].port, "bind", body)
        assert "names pod-b" in refused["Error"], "whoever lost the Lease binds nothing any more"
        assert await_node(served, "one-more") == "second"
        await_named(extenders["pod-a"], "no longer leading", "stowplan_extender_refusals_total", verb="bind", cause="NotLeading")
        await_named(extenders["pod-b"], "another pod's scheduler leads now", "stowplan_extender_scheduler_changes_total", change="taken over")
        await_named(extenders["pod-b"], '"leading"', "stowplan_extender_leading")
        served.apply(by_hand("too-many", "lone"))
        served.await_refusal("lone", CROWDED)


def test_an_extender_that_hangs_gives_up_the_lease_with_its_scheduler(served: Stage, weather: Weather) -> None:
    """The leader's extender takes connections and answers nothing. Its health is its scheduler's liveness: once that is restarted, the other replica leads
    and binds. What the hanging one does when it wakes up harms nobody.
    """
    with two_replicas(served, weather) as extenders:
        served.add_nodes(node("second", "4", QUICK))
        with stopped(served.cluster, "extender-pod-a"):
            served.apply(by_hand("one-more", "lone"))
            wait_until(lambda: not answers(f"http://127.0.0.1:{extenders['pod-a'].health_port}/healthz"), 10, "the probe fails")
            # What the kubelet does with a container whose liveness probe fails (charts/stowplan/templates/scheduler.yaml).
            served.cluster.stop("scheduler-pod-a", kill=True)
            assert await_node(served, "one-more") == "second"
            assert leader(served.cluster) == "pod-b"
        body = {"PodName": "one-more", "PodNamespace": served.namespace, "PodUID": "", "Node": "only"}
        assert ask(extenders["pod-a"].port, "bind", body)["Error"]
        await_named(extenders["pod-b"], "another pod's scheduler leads now", "stowplan_extender_scheduler_changes_total", change="taken over")
        assert extenders["pod-b"].risen("stowplan_extender_bindings_total", outcome="ok") > 0
        assert node_of(served, "one-more") == "second"


def test_a_strangers_pod_that_takes_the_place_in_between_is_noticed(served: Stage) -> None:
    """Between filter and bind the default scheduler puts a pod on the node that leaves no core: the binding is refused, and the pod goes elsewhere."""
    served.add_nodes(node("second", "2", QUICK))
    # A binding can be held for a moment only; on a busy machine the stranger may come too late, and the scene is played again.
    for name in ("one-more", "one-more-again", "one-more-at-last"):
        first = overtaken(served, name)
        if first.answer["Error"]:
            break
        served.cluster.kubectl("delete", "pod", name, f"stranger-to-{name}", "-n", served.namespace, "--grace-period=0", "--force")
    assert "node second can no longer take the pod" in first.answer["Error"]
    served.add_nodes(node("third", "2", QUICK))
    assert await_node(served, name) == "third"
    await_named(served.extender, "can no longer take the pod", "stowplan_extender_refusals_total", verb="bind", cause="PlaceLost")


def overtaken(stage: Stage, name: str) -> Call:
    """A pod is filtered, the default scheduler gives most of node `second` to a stranger, and only then the pod is to be bound; the first binding tried."""

    def calls(verb: str) -> list[Call]:
        return [call for call in stage.wiretap.about(stage.namespace, verb) if call.pod.endswith(f"/{name}")]

    with stage.wiretap.holding("bind", stage.namespace) as gate:
        stage.apply(by_hand(name, "lone"))
        wait_until(lambda: calls("filter"), 20, "a filter")
        before = stage.extender.metric("stowplan_extender_view_objects", kind="pods")
        create_pod(stage.cluster, stage.namespace, plain_pod(f"stranger-to-{name}", "1500m", nodeSelector={"kubernetes.io/hostname": "second"}))
        wait_until(lambda: stage.extender.metric("stowplan_extender_view_objects", kind="pods") > before, 5, "the stranger seen")
        gate.set()
    return wait_until(lambda: calls("bind"), 20, lambda: stage.tell("lone"))[0]


def test_a_clock_that_jumps_moves_nothing(served: Stage, tmp_path: Path) -> None:
    """The extender's wall clock jumps an hour ahead, then a day back: it stays ready, promises and views keep their age, and pods are bound."""
    served.add_nodes(node("second", "4", QUICK), node("third", "4", QUICK))
    served.extender.kill()
    moved = replace(served.extender, environment={**served.extender.environment, "PYTHONPATH": shiftable_clock(tmp_path)})
    moved.start()
    try:
        (tmp_path / "jump").write_text("3600")
        served.apply(by_hand("ahead", "lone"))
        assert await_node(served, "ahead")
        await_named(moved, "the wall clock jumped", "stowplan_extender_clock_jumps_total")
        (tmp_path / "jump").write_text("-86400")
        wait_until(moved.is_ready, 0, "ready a day back")
        served.apply(by_hand("back", "lone"))
        assert {node_of(served, "ahead"), await_node(served, "back")} == {"second", "third"}
        served.apply(by_hand("too-many", "lone"))
        served.await_refusal("lone", CROWDED)
        wait_until(lambda: moved.metric("stowplan_extender_view_staleness_seconds") == 0, 0, "a view in touch")
    finally:
        moved.kill()
        served.extender.start()


def test_sigterm_under_load_fails_no_request(served: Stage) -> None:
    """Eight clients filter without a pause while the extender is told to end: every request that it took is answered whole, and it ends with status 0."""
    pod = next(pod for pod in served.pods("lone"))
    body = json.dumps({"Pod": pod, "Nodes": None, "NodeNames": ["only"]}).encode()
    stop, answered, failed = threading.Event(), [0] * 8, list[str]()

    def load(index: int) -> None:
        while not stop.is_set():
            connection = HTTPConnection("127.0.0.1", served.extender.port, timeout=60)
            try:
                connection.connect()
            except OSError:
                return  # nobody listens any more: nothing was asked
            try:
                for _ in range(20):
                    connection.request("POST", "/filter", body, {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    content = response.read()
                    if response.status != 200 or json.loads(content)["Error"]:
                        failed.append(f"status {response.status}: {content.decode(errors='replace')}")
                    answered[index] += 1
                    if response.getheader("Connection", "").lower() == "close":
                        break
            except (OSError, HTTPException, ValueError) as error:
                failed.append(f"{type(error).__name__}: {error}")
            finally:
                connection.close()

    process, started_s = served.cluster._popen["extender"], served.extender.metric("process_start_time_seconds")
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(load, index) for index in range(8)]
        wait_until(lambda: min(answered) > 20, 20, "load")
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE_S)
        stop.set()
        for future in running:
            future.result()
    served.extender.kill()
    served.extender.start()
    assert status == 0
    assert failed == []
    assert served.extender.logged('"stopping"')
    assert served.extender.metric("process_start_time_seconds") > started_s


@pytest.mark.parametrize("how", ["relabelled", "removed"])
def test_a_node_relabelled_or_removed_under_its_residents(served: Stage, how: str) -> None:
    """The node's device is another all at once, or the node is gone: nobody new is put there, the others go on, and as before once it is as before."""
    served.add_nodes(node("second", "4", QUICK))
    if how == "relabelled":
        served.cluster.kubectl("label", "node", "only", f"{keys.DEVICE_LABEL}=nobody-knows", "--overwrite")
    else:
        served.cluster.kubectl("delete", "node", "only")
    await_named(served.extender, "no longer is what its residents were placed on", "stowplan_extender_stranded_pods_total", cause=how)
    served.apply(by_hand("one-more", "lone"))
    assert await_node(served, "one-more") == "second"
    served.apply(by_hand("waiting", "lone", nodeSelector={"kubernetes.io/hostname": "only"}))
    if how == "relabelled":
        served.await_refusal("lone", "offers no slice")
        assert served.extender.risen("stowplan_extender_nodes_judged_total", verdict="SliceNotOffered") > 0
    apply(served.cluster, node("only", "4", QUICK))
    # The extender is asked, not the pod's events: the scheduler may have tried again before the extender saw the node come back, and nothing wakes a pod
    # for another refusal.
    waiting = next(pod for pod in served.pods() if pod["metadata"]["name"] == "waiting")
    body = {"Pod": waiting, "Nodes": None, "NodeNames": ["only"]}
    wait_until(lambda: CROWDED in json.dumps(ask(served.extender.port, "filter", body)), 30, "the node is judged as before")
    assert node_of(served, "waiting") == ""


def ask(port: int, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """What an extender answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{verb}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        found: dict[str, Any] = json.loads(response.read())
        return found

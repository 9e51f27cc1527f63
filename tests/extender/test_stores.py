"""Stores read objects one by one: what one object holds touches no other."""

import json
import subprocess
import sys
import textwrap

import msgspec
import pytest
from stowplan_extender.cluster.stores import NodeStore, PodStore
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.decision.occupancies import PodUid
from stowplan_extender.metrics import Metrics
from stowplan_fleet.errors import QuantityRefused
from stowplan_fleet.manifests import decoding, nodes
from stowplan_fleet.nodes import NodeInventory, NodeName
from support import harbours
from support.virtual_clocks import HandClock


def raw(plain: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(plain).encode())


def test_a_node_whose_inventory_is_refused_touches_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that cannot be read is counted and left out, and the next one is read as ever."""
    view, metrics = ClusterView(HandClock(), 60.0), Metrics()
    store = NodeStore(view, metrics)
    read = nodes.inventory_of

    def broken(node: nodes.NodeManifest) -> NodeInventory:
        if node.metadata.name == "bad":
            raise QuantityRefused("made by a test")
        return read(node)

    monkeypatch.setattr(nodes, "inventory_of", broken)
    assert [store.put(raw(harbours.node_json(name))) for name in ("bad", "good")] == ["bad", "good"]
    assert list(view.known_nodes()) == ["good"]
    assert metrics.objects_refused.labels("nodes")._value.get() == 1


@pytest.mark.parametrize("depth", [3_000, 9_900])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_an_object_as_deep_as_an_api_server_stores_touches_no_other(depth: int, opening: str, closing: str) -> None:
    """A list and an event with an InferenceService of thousands of levels are read, neighbours too, in any thread; the process neither raises nor dies."""
    code = """
        import json, sys, threading
        from stowplan_extender import depths
        from stowplan_extender.metrics import Metrics
        from stowplan_extender.cluster.stores import ServiceStore
        from stowplan_extender.cluster.views import ClusterView
        from stowplan_fleet.manifests import decoding
        from stowplan_fleet.manifests.objects import ListEnvelope, WatchEnvelope
        from support import harbours
        from support.virtual_clocks import HandClock

        depth, opening, closing = int(sys.argv[1]), sys.argv[2], sys.argv[3]
        depths.allow()
        deep = harbours.service_json("deep")
        deep["spec"]["template"] = {"x": "HERE"}
        text = json.dumps(deep).replace('"HERE"', opening * depth + "1" + closing * depth)
        view = ClusterView(HandClock(), 60.0)
        store = ServiceStore(view, Metrics())
        page = '{"items":[' + text + "," + json.dumps(harbours.service_json("near")) + "]}"
        for item in decoding.from_json(page.encode(), ListEnvelope).items:
            store.put(item)
        store.put(decoding.from_json(('{"type":"MODIFIED","object":' + text + "}").encode(), WatchEnvelope).object)
        in_a_thread = threading.Thread(target=lambda: store.put(decoding.from_json(page.encode(), ListEnvelope).items[0]))
        in_a_thread.start()
        in_a_thread.join()
        print(*sorted(view.known_services()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(depth), opening, closing], capture_output=True, text=True, check=False, cwd="tests", timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["vision/deep", "vision/near"]


def test_nulls_that_go_writes_count_as_absent() -> None:
    """A pod with null where Go has no time, list or map is read like one without these fields."""
    view, metrics = ClusterView(HandClock(), 60.0), Metrics()
    plain = harbours.pod_json("p", None, node_name="a")
    plain["metadata"] |= {"creationTimestamp": None, "annotations": None, "labels": None}
    plain["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": None}]
    PodStore(view, metrics).put(raw(plain))
    record = view.pod(PodUid("uid-p"))
    assert record is not None
    assert (record.node, record.requests.cpu_millicores) == ("a", 1000)
    assert metrics.objects_refused.labels("pods")._value.get() == 0


def test_a_bound_pod_that_cannot_be_read_does_not_vanish() -> None:
    """What was last read of it holds on, at the node it names now; one never read before stands on its node as an unknown lodger."""
    view = ClusterView(HandClock(), 60.0)
    view.put_node(nodes.inventory_of(node_manifest("a")))
    store = PodStore(view, Metrics())
    store.put(raw(harbours.pod_json("seen", "ant")))
    for name in ("seen", "new"):
        store.put(raw(harbours.pod_json(name, "ant", node_name="a", cpu="lots", slice_class="toy-cpu/cpu:1")))
    store.put(raw(harbours.pod_json("seen", "ant") | {"spec": {"nodeName": 7}}))
    state = view.state(NodeName("a"))
    assert state is not None
    assert [(item.uid, item.requests.cpu_millicores) for item in state.lodgers] == [("uid-seen", 1000), ("uid-new", 0)]


def node_manifest(name: str) -> nodes.NodeManifest:
    return decoding.from_plain(harbours.node_json(name), nodes.NodeManifest)


@pytest.mark.parametrize(("cause", "count"), [("removed", 2), ("relabelled", 2)])
def test_residents_whose_node_goes_from_under_them_are_named(cause: str, count: int, caplog: pytest.LogCaptureFixture) -> None:
    """A node with two servers of ours and a stranger is removed, or becomes another device: a log line and a metric say so once; strangers do not count."""
    view, metrics = ClusterView(HandClock(), 60.0), Metrics()
    nodes_, pods = NodeStore(view, metrics), PodStore(view, metrics)
    for name, of in (("a", "ant"), ("b", "ant"), ("stranger", None)):
        pods.put(raw(harbours.pod_json(name, of, node_name="one")))
    node = harbours.node_json("one")
    nodes_.put(raw(node))
    assert not caplog.records, "pods that are listed before their node are not stranded"
    changed = harbours.node_json("one", device="another")
    for _ in range(2):
        if cause == "removed":
            nodes_.drop(raw(node))
        else:
            nodes_.put(raw(changed))
    assert metrics.stranded_pods.labels(cause)._value.get() == count
    (said,) = [record.__dict__ for record in caplog.records]
    assert (said["node"], said["cause"], said["pods"]) == ("one", cause, ["vision/a", "vision/b"])
    nodes_.put(raw(node))
    assert view.stranded(NodeName("one")) == ()

"""The cluster view: whatever the order of events, each node's signature is the one its state has."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_extender.cluster.lodgings import record_of
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.decision.occupancies import PodUid
from stowplan_extender.decision.signatures import Signature, signature_of
from stowplan_fleet import keys
from stowplan_fleet.manifests import decoding, nodes
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.manifests.services import service_of
from stowplan_fleet.nodes import NodeName
from stowplan_fleet.services import ServiceName
from support.harbours import lodger, node_json, pod_json, service, service_json
from support.quays import TOY_DEVICE
from support.virtual_clocks import HandClock


def a_view(clock: HandClock | None = None) -> ClusterView:
    return ClusterView(clock or HandClock(), 60.0)


def put_node(view: ClusterView, name: str, cores: int = 4) -> None:
    view.put_node(nodes.inventory_of(decoding.from_plain(node_json(name, cores), NodeManifest)))


def put_pod(view: ClusterView, name: str, of: str | None, node_name: str = "") -> None:
    view.put_pod(record_of(decoding.from_plain(pod_json(name, of, node_name=node_name), PodManifest)))


def put_service(view: ClusterView, name: str, slo_ms: int) -> None:
    manifest = decoding.from_plain(service_json(name, slo_ms), InferenceServiceManifest)
    view.put_service(service_of(manifest))


_nodes = st.sampled_from(["a", "b", "c"])
_pods = st.sampled_from(["p", "q", "r", "s"])
_names = st.sampled_from(["ant", "bee"])
events = st.one_of(
    st.tuples(st.just("node"), _nodes, st.integers(2, 4)),
    st.tuples(st.just("drop node"), _nodes),
    st.tuples(st.just("pod"), _pods, _names | st.none(), _nodes | st.just("")),
    st.tuples(st.just("drop pod"), _pods),
    st.tuples(st.just("service"), _names, st.sampled_from([20, 50])),
    st.tuples(st.just("drop service"), _names),
    st.tuples(st.just("promise"), _pods, _names, _nodes),
    st.tuples(st.just("pass"), st.integers(1, 50)),
    st.tuples(st.just("settle")),
)


def apply(view: ClusterView, clock: HandClock, event: tuple[object, ...]) -> None:
    match event:
        case ("node", str(name), int(cores)):
            put_node(view, name, cores)
        case ("drop node", str(name)):
            view.drop_node(NodeName(name))
        case ("pod", str(name), of, str(where)):
            put_pod(view, name, str(of) if of else None, where)
        case ("drop pod", str(name)):
            view.drop_pod(PodUid(f"uid-{name}"))
        case ("service", str(name), int(slo)):
            put_service(view, name, slo)
        case ("drop service", str(name)):
            view.drop_service(ServiceName(f"vision/{name}"))
        case ("promise", str(name), str(of), str(where)):
            view.reservations.promise(NodeName(where), lodger(service(of), f"uid-{name}"))
        case ("pass", int(seconds)):
            clock.now += seconds
        case _:
            view.settle()


@given(st.lists(events, max_size=40))
def test_signatures_follow_every_change(history: list[tuple[object, ...]]) -> None:
    """After any history each known node's number stands for the signature of its state, equals are equal, and the bound share their load."""
    clock = HandClock()
    view = a_view(clock)
    for event in history:
        apply(view, clock, event)
    view.settle()
    known = set(view.known_nodes())
    assert set(view.numbering.numbers) == known
    by_number: dict[int, Signature] = {}
    for name in known:
        state = view.state(name)
        assert state is not None
        number = view.numbering.numbers[name]
        assert view.numbering.signature(number) == signature_of(state)
        by_number.setdefault(number, signature_of(state))
    assert len(view.numbering) == len(by_number) == len(set(by_number.values()))
    for named in view.known_services():
        records = [view.pod(uid) for uid in view.known_pods()]
        bound = sum(record.node is not None for record in records if record is not None and record.service == named)
        found = view.service(named)
        assert found is not None
        assert view._resident_service(named) == replace(found, replicas=max(1, min(found.replicas, bound)))


@given(st.permutations(["node", "pod", "service"]))
def test_order_of_first_sight_does_not_matter(order: list[str]) -> None:
    """Node, pod and service may become known in any order."""
    view = a_view()
    for what in order:
        match what:
            case "node":
                put_node(view, "a")
            case "pod":
                put_pod(view, "p", "ant", "a")
            case _:
                put_service(view, "ant", 50)
    view.settle()
    signature = view.numbering.signature(view.numbering.numbers["a"])
    assert signature is not None
    assert [occupier.tenancy.service.name for occupier in signature.occupiers if occupier.tenancy] == ["vision/ant"]


def test_a_promise_counts_until_the_pod_is_seen_and_never_twice() -> None:
    """A promised place is taken at once; when the watch shows the pod bound it still counts once, and goes with the pod."""
    view = a_view()
    put_node(view, "a")
    put_service(view, "ant", 50)

    def left() -> int:
        view.settle()
        signature = view.numbering.signature(view.numbering.numbers["a"])
        assert signature is not None
        return signature.cpu_left_millicores

    view.reservations.promise(NodeName("a"), lodger(service("ant"), "uid-p"))
    assert left() == 3000
    put_pod(view, "p", "ant", "a")
    assert left() == 3000
    assert len(view.reservations) == 0
    view.drop_pod(PodUid("uid-p"))
    assert left() == 4000


def test_a_promise_ends_with_its_time() -> None:
    """Where nothing more is heard of a pod, its place is free again after the limit, and not before."""
    clock = HandClock()
    view = a_view(clock)
    put_node(view, "a")
    view.reservations.promise(NodeName("a"), lodger(service("ant"), "uid-p"))
    clock.now = 59.9
    view.settle()
    assert len(view.reservations) == 1
    clock.now = 60.0
    view.settle()
    assert len(view.reservations) == 0
    state = view.state(NodeName("a"))
    assert state is not None
    assert state.lodgers == ()


def test_a_pod_seen_elsewhere_frees_every_promise() -> None:
    """Two nodes may be promised to one pod while its first binding is in doubt; the watch settles it."""
    view = a_view()
    put_node(view, "a")
    put_node(view, "b")
    for name in ("a", "b"):
        view.reservations.promise(NodeName(name), lodger(service("ant"), "uid-p"))
    assert view.reservations.nodes_of(PodUid("uid-p")) == {"a", "b"}
    put_pod(view, "p", "ant", "a")
    assert len(view.reservations) == 0


@pytest.mark.parametrize("slo_ms", [20, 50])
def test_residents_have_the_objective_their_service_has_now(slo_ms: int) -> None:
    """A changed objective changes the signatures of all nodes with pods of that service."""
    view = a_view()
    put_node(view, "a")
    put_service(view, "ant", 99)
    put_pod(view, "p", "ant", "a")
    view.settle()
    put_service(view, "ant", slo_ms)
    view.settle()
    signature = view.numbering.signature(view.numbering.numbers["a"])
    assert signature is not None
    assert [occupier.tenancy.service.slo.latency_ms for occupier in signature.occupiers if occupier.tenancy] == [slo_ms]


def test_the_load_rests_on_replicas_that_are_bound() -> None:
    """A service that is to have four replicas carries its whole load on the one that is bound; a second one, elsewhere, halves it."""
    view = a_view()
    plain = service_json("ant") | {"status": {"replicas": 4}}
    view.put_service(service_of(decoding.from_plain(plain, InferenceServiceManifest)))

    def sharers() -> list[int]:
        view.settle()
        signature = view.numbering.signature(view.numbering.numbers["a"])
        assert signature is not None
        return [occupier.tenancy.service.replicas for occupier in signature.occupiers if occupier.tenancy]

    put_node(view, "a")
    put_pod(view, "p", "ant", "a")
    put_pod(view, "waiting", "ant")
    assert sharers() == [1]
    put_pod(view, "q", "ant", "b")
    assert sharers() == [2]
    view.drop_pod(PodUid("uid-q"))
    assert sharers() == [1]


@pytest.mark.parametrize("lacks", ["marker", "scheduler"])
def test_a_label_alone_makes_no_resident(lacks: str) -> None:
    """A bound pod that names a service but lacks the marker, or has another scheduler, is a tenant of which nothing but its request is known."""
    view = a_view()
    put_node(view, "a")
    put_service(view, "ant", 50)
    plain = pod_json("p", "ant", node_name="a")
    if lacks == "scheduler":
        plain["spec"]["schedulerName"] = "default-scheduler"
    else:
        for amounts in plain["spec"]["containers"][0]["resources"].values():
            amounts.pop(keys.MARKER_RESOURCE, None)
    view.put_pod(record_of(decoding.from_plain(plain, PodManifest)))
    state = view.state(NodeName("a"))
    assert state is not None
    assert [(item.tenancy, item.requests.cpu_millicores) for item in state.lodgers] == [(None, 1000)]


@pytest.mark.parametrize("order", [("a/one", "a/two"), ("a/two", "a/one")])
def test_of_two_descriptions_of_one_device_the_first_by_name_counts(order: tuple[str, str]) -> None:
    """Whatever order they were seen in, as the operator chooses; the device is said to be contested, and the other one counts once the first is gone."""
    view = a_view()
    slower = replace(TOY_DEVICE, cores=2)
    for source in order:
        view.devices.put(source, {TOY_DEVICE.name: TOY_DEVICE if source == "a/one" else slower})
    assert view.devices.find(TOY_DEVICE.name) == TOY_DEVICE
    assert view.devices.contested == {TOY_DEVICE.name}
    assert view.devices.drop("a/one") == {TOY_DEVICE.name}
    assert view.devices.find(TOY_DEVICE.name) == slower
    assert view.devices.contested == frozenset()

"""Objects that are gone without any watch having told it do not stay in the views for ever."""

import logging
from typing import Any, cast

import pytest
from stowplan_fleet.manifests import nodes
from stowplan_fleet.manifests.decoding import from_plain
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.nodes import NodeInventory
from stowplan_fleet.services import ServiceName
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.surveys import Surveys
from stowplan_operator.reconciling.sweeps import Sweeper
from stowplan_operator.reconciling.views import Kind, KopfViews


class ListedApi:
    """Lists what it is told, and lets something happen while it does."""

    def __init__(self, *uids: str) -> None:
        self.uids = frozenset(uids)

    async def list_uids(self, kind: Kind) -> frozenset[str]:
        """What there is."""
        del kind
        return self.uids


def node(name: str) -> NodeManifest:
    return from_plain({"metadata": {"name": name, "uid": f"uid-{name}"}}, NodeManifest)


def service(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "a", "uid": f"uid-{name}"}}


def seen(**kinds: dict[str, list[Any]]) -> tuple[KopfViews, dict[str, dict[str, list[Any]]]]:
    indices = {name: kinds.get(name, {}) for name in (*map(str, Kind), "descriptors")}
    return KopfViews(cast("Any", indices)), indices


async def test_a_node_that_is_gone_is_dropped_and_everybody_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    """A node whose deletion no watch told: it is shown no more, each service is looked at, a metric and a log line tell it; the index may forget it later."""
    views, indices = seen(nodes={"here": [node("here")], "gone": [node("gone")]}, services={"a/s": [service("s")]})
    metrics, looked = Metrics(), list[ServiceName]()
    caplog.set_level(logging.WARNING)
    await Sweeper(views, cast("Any", ListedApi("uid-here")), metrics, add=looked.append, every_s=1, settle_s=0).sweep(Kind.NODES)
    assert [item.metadata.name for item in views.nodes()] == ["here"]
    assert looked == ["a/s"]
    assert metrics.registry.get_sample_value("stowplan_operator_missed_deletes_total", {"kind": "nodes"}) == 1
    assert "no watch told it" in caplog.text
    del indices["nodes"]["gone"]
    views.drop(Kind.NODES, ())
    indices["nodes"]["gone"] = [node("gone")]
    assert len(views.nodes()) == 2


async def test_a_service_that_is_gone_is_gone_for_its_look() -> None:
    """A service that no watch reported as deleted is not looked after any more; only it is looked at."""
    views, _ = seen(services={"a/s": [service("s")], "a/t": [service("t")]})
    looked = list[ServiceName]()
    await Sweeper(views, cast("Any", ListedApi("uid-t")), Metrics(), add=looked.append, every_s=1, settle_s=0).sweep(Kind.SERVICES)
    assert views.service(ServiceName("a/s")) is None
    assert views.service(ServiceName("a/t")) is not None
    assert looked == ["a/s"]


async def test_what_its_watch_tells_in_time_is_not_counted() -> None:
    """An object deleted while the list was made, and told a moment later, is no missed delete."""
    views, indices = seen(nodes={"going": [node("going")]})
    metrics = Metrics()

    class Meanwhile(ListedApi):
        async def list_uids(self, kind: Kind) -> frozenset[str]:
            found = await super().list_uids(kind)
            del indices["nodes"]["going"]
            return found

    await Sweeper(views, cast("Any", Meanwhile()), metrics, add=lambda _: None, every_s=1, settle_s=0).sweep(Kind.NODES)
    assert metrics.registry.get_sample_value("stowplan_operator_missed_deletes_total", {"kind": "nodes"}) is None


def test_nodes_are_read_once_for_all_services_that_ask_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second template that selects and tolerates alike reads no node again; one that differs does, and so does everybody after a node changed."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "4"}}
    views, _ = seen(nodes={"n": [from_plain({"metadata": {"name": "n", "uid": "u"}, "status": ready}, NodeManifest)]})
    read: list[str] = []
    inventory_of = nodes.inventory_of

    def counted(node: NodeManifest) -> NodeInventory:
        read.append(node.metadata.name)
        return inventory_of(node)

    monkeypatch.setattr(nodes, "inventory_of", counted)
    surveys = Surveys(views)
    assert len(surveys.of({"spec": {"containers": [{"name": "a"}]}}).inventories) == 1
    assert surveys.of({"spec": {"containers": [{"name": "b"}], "nodeSelector": None}}) is surveys.of({})
    assert read == ["n"]
    assert surveys.of({"spec": {"nodeSelector": {"zone": "a"}}}).inventories == ()
    views.nodes_changed()
    surveys.of({})
    assert read == ["n", "n"]

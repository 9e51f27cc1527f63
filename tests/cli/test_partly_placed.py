"""While some servers of a service have no node yet, commands judge those that have one as the extender does; an audit, as they were promised to be."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_cli.inputs import questions
from stowplan_cli.objects import modelfiles, snapshots
from stowplan_cli.simulating import stages
from stowplan_extender.apiserver.reflectors import Store
from stowplan_extender.cluster import lodgings
from stowplan_extender.cluster.stores import DeviceStore, NodeStore, PodStore, ServiceStore
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.judging.judgements import Judge
from stowplan_extender.judging.predictions import Predictions
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import PredictorSettings
from stowplan_fleet import keys
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.predictors import Predictor
from support import cluster_objects as objects
from support.cluster_objects import Object, on_one_core
from support.command_lines import Desk, Run
from support.toy_predictors import ToyPredictor
from support.virtual_clocks import HandClock


def a_view(items: list[Object], clock: HandClock) -> ClusterView:
    """What the extender knows once its watches have shown all of that."""
    view, metrics = ClusterView(clock, 60.0), Metrics()
    stores: dict[str, Store] = {"Node": NodeStore(view, metrics), "Pod": PodStore(view, metrics), keys.KIND: ServiceStore(view, metrics)}
    stores["ConfigMap"] = DeviceStore(view, metrics, lambda _: None)
    for item in items:
        if item["kind"] != "ConfigMap" or keys.DESCRIPTORS_LABEL in item["metadata"].get("labels", ()):
            stores[item["kind"]].put(msgspec.Raw(json.dumps(item).encode()))
    view.settle()
    return view


class Extender:
    """The extender's own view and judge over the desk's bundle."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def says(self, items: list[Object], pod: Object) -> dict[str, str | float]:
        """Node by node the upper end of the prediction of a pod that is let in, and else the reason."""
        return asyncio.run(self._ask(items, pod))

    async def _ask(self, items: list[Object], pod: Object) -> dict[str, str | float]:
        predictor: Predictor = questions.opened_predictor(self._desk.bundle, questions.RUNTIME)
        digest = (await predictor.analyze(objects.MODEL, {})).graph_digest
        for item in items:
            if item["kind"] == keys.KIND:
                status = item.get("status", {})
                item["status"] = status | {"model": {"graphDigest": digest}}
        clock = HandClock()
        view = a_view(items, clock)
        predictions = Predictions(predictor, view.devices.find, PredictorSettings(timeout_s=30.0), clock, Metrics())
        newcomer = lodgings.newcomer_of(lodgings.record_of(decoding.from_plain(pod, PodManifest)), view.service)
        ruling = await Judge(view, predictions, 60.0, clock).rule(newcomer, view.node_names())
        said: dict[str, str | float] = {name: refusal.text for name, refusal in ruling.refused.items()}
        for name, acceptance in ruling.accepted:
            assert acceptance.answer is not None
            assert acceptance.answer.response is not None
            said[name] = acceptance.answer.response.upper_ms
        return said


def replicated(name: str, slo_ms: int, rate: int, replicas: int, slice_class: str = "quick/cpu:1") -> Object:
    """A service on its rung, with so many servers planned."""
    made = objects.service(name, slo_ms, rate, replicas={"min": replicas, "max": replicas}, placement={"sliceClasses": [slice_class]})
    made["metadata"]["generation"] = 1
    return made | {"status": {"sliceClass": slice_class, "replicas": replicas}}


def waiting(name: str, service: str, cpu: str = "1") -> Object:
    """A pod that the scheduler asks about."""
    made = objects.pod(name, "", cpu, service=service)
    made["metadata"]["annotations"] = {keys.SLICE_CLASS_ANNOTATION: f"quick/cpu:{cpu}"}
    return made


def bound(name: str, where: str, service: str, slice_class: str = "quick/cpu:1") -> Object:
    """A pod on a node, as its Binding left it."""
    made = objects.pod(name, where, slice_class.rpartition(":")[2], service=service, slice_class=slice_class)
    made["metadata"]["annotations"][keys.SLICE_CLASS_ANNOTATION] = slice_class
    return made


def written(folder: Path, name: str, items: list[Object]) -> Path:
    """A file of those objects."""
    (folder / name).write_text(objects.listed(items))
    return folder / name


@pytest.fixture
def extender(desk: Desk) -> Extender:
    """Asked about the same objects as the command line."""
    return Extender(desk)


def half_placed(slo_ms: int = 500, rate: int = 100) -> list[Object]:
    """A node with one server of two that are planned; one alone cannot sustain 100 requests a second."""
    return [
        objects.described(), objects.graph(), objects.node("one"),
        replicated("net", slo_ms, rate, 2), bound("net-0", "one", "net"), waiting("net-1", "net"),
    ]  # fmt: skip


def placed(slo_ms: int = 500, rate: int = 100) -> list[Object]:
    """The same with the second server on a node that has room for nobody else."""
    return [*half_placed(slo_ms, rate)[:-1], objects.node("two", cpu="1"), bound("net-1", "two", "net")]


def test_what_if_refuses_a_stranger_in_the_extenders_words(plugin: Run, desk: Desk, extender: Extender, tmp_path: Path) -> None:
    """Beside a server that carries the load of two, both refuse; who carries more than is planned is said on stderr."""
    cluster, more = half_placed(), objects.service("more", 500, **on_one_core())
    files = "-f", written(tmp_path, "more.yaml", [more]), "--cluster", written(tmp_path, "cluster.yaml", cluster)
    outcome = plugin("what-if", *files, "--bundle", desk.bundle, "-o", "json")

    (left,) = outcome.json["unplaced"]
    assert left["reasons"] == {"one": "would push resident vision/net over its SLO of 500 ms: it could not sustain its load"}
    assert left["reasons"] == extender.says([*cluster, more], waiting("more-0", "more"))
    assert "until the others have one: vision/net (1 of 2)" in outcome.stderr


def test_what_if_lets_a_stranger_in_once_all_have_a_node(plugin: Run, desk: Desk, extender: Extender, tmp_path: Path) -> None:
    """The same place is had as soon as the load is shared, at the extender's number; nothing is noted any more."""
    cluster, more = placed(), objects.service("more", 500, **on_one_core())
    files = "-f", written(tmp_path, "more.yaml", [more]), "--cluster", written(tmp_path, "cluster.yaml", cluster)
    outcome = plugin("what-if", *files, "--bundle", desk.bundle, "-o", "json")

    (placement,) = outcome.json["placements"]
    assert {placement["node"]: placement["predictedMilliseconds"]}.items() <= extender.says([*cluster, more], waiting("more-0", "more")).items()
    assert "vision/net" not in outcome.stderr


def test_explain_says_of_the_second_server_what_the_extender_says(plugin: Run, desk: Desk, extender: Extender, tmp_path: Path) -> None:
    """The sibling that takes the load off the first is let beside it, and kept off a node of others that carry too much; the first is shown as it fares."""
    others = [replicated("other", 500, 100, 2), bound("other-0", "three", "other")]
    cluster = [*half_placed(), objects.node("three"), objects.node("four", "slow"), *others]
    path = written(tmp_path, "cluster.yaml", cluster)
    outcome = plugin("explain", "net", "-n", "vision", "--cluster", path, "--bundle", desk.bundle, "-o", "json")

    more = {name: verdict.get("reason") or verdict["predictedMilliseconds"] for name, verdict in outcome.json["oneMore"].items()}
    assert more == extender.says(cluster, waiting("net-1", "net"))
    assert isinstance(more["one"], float)
    assert "would push resident vision/other" in more["three"]
    (server,) = outcome.json["servers"]
    assert server["predictedMilliseconds"] is None, "one server cannot sustain the load of two"
    assert "vision/net (1 of 2), vision/other (1 of 2)" in outcome.stderr


def test_nodes_show_the_headroom_that_the_extender_counts_on(run: Run, desk: Desk, tmp_path: Path) -> None:
    """Within the objective as planned and over it while one server carries the load of both: what a table shows is why nobody is let in."""
    found = {}
    for name, cluster in (("half", half_placed(40, 30)), ("all", placed(40, 30))):
        outcome = run("nodes", "--cluster", written(tmp_path, f"{name}.yaml", cluster), "--bundle", desk.bundle, "-o", "json")
        found[name] = next(item for item in outcome.json["nodes"] if item["name"] == "one")["tenants"][0]["headroomMilliseconds"]

    assert found["half"] < 0 < found["all"]


def test_place_judges_later_services_beside_those_that_found_a_place(run: Run, desk: Desk, extender: Extender, tmp_path: Path) -> None:
    """Of a service that is placed in part, the servers that found a place carry the whole load for whoever comes next, as once they are bound."""
    nodes = [objects.described(), objects.graph(), objects.node("one", cpu="3")]
    first, second = replicated("first", 500, 150, 3, "quick/cpu:2"), objects.service("second", 500, **on_one_core())
    files = "-f", written(tmp_path, "both.yaml", [first, second]), "--cluster", written(tmp_path, "cluster.yaml", nodes)
    outcome = run("place", *files, "--bundle", desk.bundle, "-o", "json")

    assert [item["service"] for item in outcome.json["placements"]] == ["vision/first"]
    reasons = {item["service"]: item["reasons"] for item in outcome.json["unplaced"]}
    assert reasons["vision/second"] == {"one": "would push resident vision/first over its SLO of 500 ms: it could not sustain its load"}
    then = [*nodes, first, second, bound("first-0", "one", "first", "quick/cpu:2")]
    assert reasons["vision/second"] == extender.says(then, waiting("second-0", "second"))


def audited(plugin: Run, desk: Desk, path: Path) -> tuple[int, list[dict[str, Any]]]:
    """Status and findings of an audit, with pods as this bundle would have bound them."""
    manifest = json.loads((desk.bundle / "manifest.json").read_text())
    cluster = json.loads(path.read_text())
    for item in cluster["items"]:
        if item["kind"] == "Pod" and item["spec"]["nodeName"]:
            item["metadata"]["annotations"] |= {
                keys.PREDICTED_MS_ANNOTATION: "1", keys.BASIS_ANNOTATION: "measured",
                keys.BUNDLE_ANNOTATION: f"{manifest['name']}@{manifest['version']}", keys.PREDICTION_ID_ANNOTATION: "x",
            }  # fmt: skip
    path.write_text(json.dumps(cluster))
    outcome = plugin("audit", "--cluster", path, "--bundle", desk.bundle, "-o", "json")
    return outcome.status, outcome.json["findings"]


def test_an_audit_holds_servers_to_the_load_they_were_let_in_for(plugin: Run, desk: Desk, tmp_path: Path) -> None:
    """That one server carries the load of two until the second has a node is nobody's broken promise; over the objective as planned is one."""
    assert audited(plugin, desk, written(tmp_path, "half.yaml", half_placed())) == (0, [])
    status, (found,) = audited(plugin, desk, written(tmp_path, "over.yaml", half_placed(2)))
    assert (status, found["invariant"], found["broken"]) == (4, "NoResidentOverObjective", True)


@pytest.mark.parametrize(("present", "status"), [("quick/cpu:4", 0), ("quick/cpu:1", 4)])
def test_an_audit_notes_servers_that_are_on_their_way_out(plugin: Run, desk: Desk, tmp_path: Path, present: str, status: int) -> None:
    """Two servers that one larger is to replace would not sustain the whole load each, nor do they have to; where nothing is moving, they do."""
    service = replicated("net", 500, 100, 1)
    service["status"]["sliceClass"] = present
    service["spec"]["placement"]["sliceClasses"].append("quick/cpu:4")
    cluster = [objects.described(), objects.graph(), objects.node("one"), service, bound("net-0", "one", "net"), bound("net-1", "one", "net")]
    found, findings = audited(plugin, desk, written(tmp_path, "cluster.yaml", cluster))
    assert found == status
    assert [item["broken"] for item in findings] == [status == 4] * 2
    assert all(("is moving to another slice class" in item["text"]) is (status == 0) for item in findings)


_pods = st.lists(st.tuples(st.sampled_from(["ant", "bee", "gone", ""]), st.sampled_from(["one", "two", "unknown", ""]), st.sampled_from(["Running", "Failed"])),
                 max_size=8)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(_pods, st.integers(1, 4), st.integers(1, 4))
def test_a_desk_sees_on_each_node_whom_the_extender_sees_there(pods: list[tuple[str, str, str]], ants: int, bees: int) -> None:
    """Whatever pods there are, bound, waiting or over, of ours or not: the same nodes with the same tenants, each with the same share of its service's load."""
    items = [objects.node("one"), objects.node("two"), replicated("ant", 50, 10, ants), replicated("bee", 60, 10, bees)]
    for number, (service, where, phase) in enumerate(pods):
        made = bound(f"p{number}", where, service) if service else objects.pod(f"p{number}", where)
        items.append(made | {"status": {"phase": phase}})
    view = a_view(items, HandClock())
    snapshot = snapshots.snapshot_of(items)
    residents, _ = stages.residents_of(snapshot, modelfiles.index_models(None))
    desk = asyncio.run(stages.furnished(snapshot, residents, ToyPredictor({}), []))

    assert set(desk.states) == set(view.node_names())
    for name, state in desk.states.items():
        seen = view.state(name)
        assert seen is not None
        assert state.inventory == seen.inventory
        assert sorted(state.lodgers, key=lambda lodger: lodger.uid) == sorted(seen.lodgers, key=lambda lodger: lodger.uid)

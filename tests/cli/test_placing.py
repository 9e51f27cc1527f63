"""`stowplan place`: where services would run. Devices and bundle are made up; what decides is the operator's and the extender's own code."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from stowplan_fleet import descriptors, keys
from stowplan_fleet.slices import DeviceName
from support.cluster_objects import DIGEST, MODEL, QUICK, SLOW, Object, node, on_one_core, pod, service
from support.command_lines import Desk, Outcome, Run


class Harbour:
    """Files of a test, and the command run on them."""

    def __init__(self, folder: Path, desk: Desk, run: Run) -> None:
        self.folder, self._desk, self._run = folder, desk, run
        self.models, self.devices = folder / "models", folder / "devices"
        self.models.mkdir()
        self.devices.mkdir()
        (self.models / "some.onnx").write_bytes(MODEL)
        for device in (QUICK, SLOW):
            (self.devices / f"{device.name}.json").write_bytes(descriptors.write_device(device))

    def place(self, services: list[Object] | str, cluster: list[Object] | str, *options: str, output: str = "json") -> Outcome:
        """Runs the command."""
        texts = {
            "services.yaml": services if isinstance(services, str) else yaml.safe_dump_all(services),
            "cluster.yaml": cluster if isinstance(cluster, str) else yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": cluster}),
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text)
        files = ("-f", self.folder / "services.yaml", "--cluster", self.folder / "cluster.yaml", "--models", self.models, "--devices", self.devices)
        return self._run("place", *files, "--bundle", self._desk.bundle, "-o", output, *options)

    def placements(self, services: list[Object], cluster: list[Object]) -> dict[str, str]:
        """Node by `service replica`, of a command that must succeed."""
        outcome = self.place(services, cluster)
        assert outcome.status == 0, outcome.stderr
        return {f"{item['service']} {item['replica']}": item["node"] for item in outcome.json["placements"]}


@pytest.fixture
def harbour(tmp_path: Path, desk: Desk, run: Run) -> Harbour:
    """A model, two described devices, and the command."""
    return Harbour(tmp_path, desk, run)


def test_a_service_lands_where_its_objective_holds(harbour: Harbour) -> None:
    """The only node kind that is fast enough gets it, though others have more room; the keys are the contract's."""
    outcome = harbour.place([service("a", 25, **on_one_core())], [node("roomy", "slow", "64"), node("fast")])
    document = outcome.json

    assert outcome.status == 0
    assert list(document) == ["placements", "unplaced"]
    assert document["unplaced"] == []
    (placement,) = document["placements"]
    assert list(placement) == ["service", "replica", "node", "slice", "predictedMilliseconds", "sloMilliseconds", "basis", "because"]
    assert (placement["service"], placement["replica"], placement["node"], placement["slice"]) == ("vision/a", 0, "fast", "cpu:1")
    assert 10 < placement["predictedMilliseconds"] <= placement["sloMilliseconds"] == 25


def test_the_cheapest_slice_that_does_is_taken(harbour: Harbour) -> None:
    """One core where one core does, two where only two do."""
    cluster = [node("fast")]
    slices = [harbour.place([service("a", slo)], cluster).json["placements"][0]["slice"] for slo in (100, 14)]

    assert slices == ["cpu:1", "cpu:2"]


def test_a_resident_is_protected_by_name(harbour: Harbour) -> None:
    """A newcomer goes to another node, and with no other there it stays out for the resident's sake."""
    resident = service("resident", 20, rate=2)
    standing = [node("one"), pod("resident-x", "one", service="resident"), resident]
    newcomer = service("newcomer", 500, rate=30, **on_one_core())

    assert harbour.placements([newcomer], [*standing, node("two")]) == {"vision/newcomer 0": "two"}
    (left,) = harbour.place([newcomer], standing).json["unplaced"]
    assert list(left) == ["service", "replica", "reasons"]
    assert "vision/resident" in left["reasons"]["one"]


def test_an_impossible_objective_has_a_reason_for_every_node(harbour: Harbour) -> None:
    """Nothing is placed, every node says why, and that is a judgement: status 0."""
    cluster = [node("a"), node("b", "slow"), node("unmeasured", None), node("gone", ready="Unknown"), node("shut", unschedulable=True)]
    cluster.append(node("kept", taints=[{"key": "k", "effect": "NoSchedule"}]))
    outcome = harbour.place([service("wishful", 1)], cluster)
    (left,) = outcome.json["unplaced"]

    assert (outcome.status, outcome.json["placements"]) == (0, [])
    assert set(left["reasons"]) == {"a", "b", "unmeasured", "gone", "shut", "kept"}
    assert "quick/cpu:" in left["reasons"]["a"]
    assert "too slow even alone" in left["reasons"]["a"]
    assert "slow/cpu:" in left["reasons"]["b"]
    assert keys.DEVICE_LABEL in left["reasons"]["unmeasured"]
    assert (left["reasons"]["gone"], left["reasons"]["shut"]) == ("is not ready", "is cordoned")
    assert "taints" in left["reasons"]["kept"]


def test_replicas_never_share_what_one_of_them_has(harbour: Harbour) -> None:
    """Each replica takes its core away; the one that finds none left stays out, with that reason."""
    cluster = [node("a", cpu="1500m"), node("b", cpu="1500m")]
    outcome = harbour.place([service("a", 100, replicas={"min": 3, "max": 3})], cluster)

    assert sorted(item["node"] for item in outcome.json["placements"]) == ["a", "b"]
    (left,) = outcome.json["unplaced"]
    assert left["replica"] == 2
    assert all("no" in text and "quick/cpu:1" in text for text in left["reasons"].values())


def test_services_are_placed_in_order_each_among_the_others(harbour: Harbour) -> None:
    """What the first one took, the second one does not get."""
    placed = harbour.placements([service("first", 100), service("second", 100)], [node("a", cpu="1"), node("b", cpu="1")])

    assert sorted(placed.values()) == ["a", "b"]


def test_a_service_climbs_where_its_rung_is_taken(harbour: Harbour) -> None:
    """The equally cheap slice of the other device is taken when the first one is full."""
    full = [node("fast", cpu="1"), pod("other", "fast", cpu="900m")]

    assert harbour.placements([service("a", 100)], [*full, node("roomy", "slow")]) == {"vision/a 0": "roomy"}


def test_pods_that_are_over_take_nothing(harbour: Harbour) -> None:
    """A finished pod frees its node; one that waits for a node holds none."""
    cluster = [node("a", cpu="1"), pod("done", "a", phase="Succeeded"), pod("waiting", "")]

    assert harbour.placements([service("a", 100)], cluster) == {"vision/a 0": "a"}


def test_a_service_of_the_snapshot_is_placed_anew(harbour: Harbour) -> None:
    """Its own pods do not stand in its way, and that is said."""
    cluster = [node("a", cpu="1"), service("a", 100), pod("a-x", "a", service="a")]
    outcome = harbour.place([service("a", 100)], cluster)

    assert [item["node"] for item in outcome.json["placements"]] == ["a"]
    assert "vision/a-x" in outcome.stderr


def test_what_nobody_can_judge_is_status_3(harbour: Harbour) -> None:
    """A device without a descriptor: unknown, with that reason, and no number; the service may allow it."""
    cluster = [node("a", "undescribed")]
    refused = harbour.place([service("a", 100)], cluster)
    allowed = harbour.place([service("a", 100, placement={"onUnknown": "Allow"})], cluster)

    assert refused.status == 3
    assert "DeviceNotDescribed" in refused.json["unplaced"][0]["reasons"]["a"]
    assert allowed.status == 0
    assert allowed.json["placements"][0]["predictedMilliseconds"] is None


def test_an_unknown_resident_keeps_its_node_closed(harbour: Harbour) -> None:
    """A resident whose model is not here cannot be judged, so nobody is put beside it; which model is missing is said."""
    resident = service("resident", 100, model={"uri": "configmap://g/m.onnx", "digest": "sha256:" + "0" * 64})
    resident["status"] = {"model": {"graphDigest": "sha256:" + "1" * 64}}
    outcome = harbour.place([service("a", 100)], [node("one"), resident, pod("resident-x", "one", service="resident")])

    assert "vision/resident" in outcome.json["unplaced"][0]["reasons"]["one"]
    assert "sha256:0000" in outcome.stderr


def test_models_are_found_by_file_and_in_configmaps_too(harbour: Harbour) -> None:
    """`file:` is relative to the services' file; a ConfigMap of the snapshot holds a model as in the cluster."""
    (harbour.folder / "beside.onnx").write_bytes(MODEL)
    configmap = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "g", "namespace": "vision"}}
    configmap["binaryData"] = {"m.onnx": base64.b64encode(MODEL).decode()}
    services = [service("by-file", 100, model={"uri": "file:beside.onnx"}), service("by-map", 100, model={"uri": "configmap://g/m.onnx"})]

    assert set(harbour.placements(services, [node("a"), configmap])) == {"vision/by-file 0", "vision/by-map 0"}


def test_descriptors_of_the_snapshot_are_used(harbour: Harbour) -> None:
    """A labelled ConfigMap describes devices as it does in the cluster; another one does not."""
    other = replace(QUICK, name=DeviceName("other"))
    configmap: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "devices", "namespace": "stow"}}
    configmap["data"] = {"other.json": descriptors.write_device(other).decode()}
    without = harbour.place([service("a", 100)], [node("a", "other"), configmap])
    configmap["metadata"]["labels"] = {keys.DESCRIPTORS_LABEL: "true"}

    assert without.status == 3
    assert harbour.placements([service("a", 100)], [node("a", "other"), configmap]) == {"vision/a 0": "a"}


def test_table_and_yaml_say_the_same(harbour: Harbour) -> None:
    """People read nodes, slices and one line a reason; programs read the same document in either format."""
    services, cluster = [service("a", 100), service("wishful", 1)], [node("one"), node("two"), node("three"), node("four")]
    table = harbour.place(services, cluster, output="table").stdout

    assert harbour.place(services, cluster).json == yaml.safe_load(harbour.place(services, cluster, output="yaml").stdout)
    assert "vision/a" in table
    assert "vision/wishful, replica 0: no place" in table
    assert "and 1 more: quick/cpu:" in table


def test_json_snapshots_are_read_too(harbour: Harbour) -> None:
    """`kubectl -o json` is as good, and typed lists as well."""
    bare = {key: value for key, value in node("a").items() if key not in {"kind", "apiVersion"}}
    assert harbour.place([service("a", 100)], json.dumps({"apiVersion": "v1", "kind": "NodeList", "items": [bare]})).status == 0


def test_one_broken_object_of_a_snapshot_leaves_the_others(harbour: Harbour) -> None:
    """It is named and left out."""
    broken = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "odd", "labels": 5}}
    kserve = {"kind": "InferenceService", "apiVersion": "serving.kserve.io/v1beta1", "metadata": {"name": "theirs"}, "spec": {"predictor": {}}}
    outcome = harbour.place([service("a", 100)], [broken, kserve, service("bad", 0), node("a")])

    assert outcome.status == 0
    assert "Node odd" in outcome.stderr
    assert "vision/bad" in outcome.stderr
    assert "theirs" not in outcome.stderr


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nkind: List\nitems: [*b, *b]\n"
REFUSED: dict[str, tuple[Any, Any, str]] = {
    "no service": ([node("a")], [node("a")], "holds no InferenceService"),
    "no node": ([service("a", 9)], [service("a", 9)], "holds no node"),
    "twice": ([service("a", 9), service("a", 9)], [node("a")], "twice"),
    "bad objective": ([service("a", 0)], [node("a")], "spec.slo.latencyMilliseconds"),
    "no containers": ([service("a", 9, template={"spec": {}})], [node("a")], "containers"),
    "odd resources": ([service("a", 9, template={"spec": {"containers": [{"resources": [1]}]}})], [node("a")], "resources"),
    "odd environment": ([service("a", 9, template={"spec": {"containers": [{"env": [1]}]}})], [node("a")], "env"),
    "no model": ([service("a", 9, model={"uri": "configmap://g/m", "digest": "sha256:" + "0" * 64})], [node("a")], "no file of --models has sha256:0"),
    "no digest": ([service("a", 9, model={"uri": "configmap://g/m"})], [node("a")], "spec.model.digest"),
    "remote model": ([service("a", 9, model={"uri": "https://169.254.169.254/latest"})], [node("a")], "not fetched offline"),
    "missing file": ([service("a", 9, model={"uri": "file:nothing.onnx"})], [node("a")], "nothing.onnx"),
    "no model file": ([service("a", 9, model={"uri": "file:services.yaml"})], [node("a")], "vision/a"),
    "not YAML": ("a: [", [node("a")], "not YAML"),
    "no object": ("just text", [node("a")], "not a Kubernetes object"),
    "a bomb of aliases": ([service("a", 9)], BOMB, "aliases"),
    "a loop": ([service("a", 9)], "&a {kind: List, items: [*a]}", "aliases"),
    "a python object": ([service("a", 9)], "!!python/object/apply:os.system [ls]", "not YAML"),
    "deep nesting": ([service("a", 9)], "{kind: List, items: " + "[" * 500 + "]" * 500 + "}", "nested deeper"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(harbour: Harbour, case: str) -> None:
    """Status 1, and one sentence on standard error: what, where."""
    services, cluster, words = REFUSED[case]
    outcome = harbour.place(services, cluster)

    assert (outcome.status, outcome.stdout) == (1, "")
    assert words in outcome.stderr.splitlines()[-1]


def test_a_pinned_file_must_be_that_file(harbour: Harbour) -> None:
    """A digest that differs from the file beside is an error, not another model."""
    (harbour.folder / "beside.onnx").write_bytes(MODEL + b"\0")
    outcome = harbour.place([service("a", 9, model={"uri": "file:beside.onnx", "digest": DIGEST})], [node("a")])

    assert outcome.status == 1
    assert DIGEST in outcome.stderr

"""What is asked of a cluster, on snapshots: nodes and headroom, a service explained, what a snapshot leaves out."""

from pathlib import Path
from typing import Any

import pytest
from support.cluster_objects import Object, described, graph, listed, node, on_one_core, pod, service
from support.command_lines import Desk, Run


def status(slice_class: str, reason: str = "RungChosen") -> dict[str, Any]:
    ladder = [{"sliceClass": "slow/cpu:1", "replicas": 1, "predictedMilliseconds": 44.0, "basis": "measured", "meetsSLO": False, "reason": "too slow",
               "skipped": "MissesObjective"},
              {"sliceClass": slice_class, "replicas": 1, "predictedMilliseconds": 20.0, "basis": "measured", "meetsSLO": True, "reason": "within"}]  # fmt: skip
    condition = {"type": "Scheduled", "status": "False", "reason": reason, "message": "one replica waits", "lastTransitionTime": "2026-11-22T00:00:00Z"}
    return {"sliceClass": slice_class, "replicas": 2, "ladder": ladder, "conditions": [condition]}


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """Three nodes; a service with one server on the first of them, beside a pod of others."""
    items: list[Object] = [
        described(), graph(), node("one"), node("two", device="slow"), node("three", device=None),
        service("net", 60, **on_one_core()) | {"status": status("quick/cpu:1")}, pod("net-0", "one", service="net"), pod("other", "one", cpu="500m"),
    ]  # fmt: skip
    path = tmp_path / "cluster.yaml"
    path.write_text(listed(items))
    return path


def test_nodes_show_tenants_and_what_is_left_to_their_objectives(run: Run, desk: Desk, cluster: Path) -> None:
    """For each server the upper end of its prediction, the objective and the difference; others' pods by name; room that is left."""
    outcome = run("nodes", "--cluster", cluster, "--bundle", desk.bundle, "-o", "json")
    assert outcome.status == 0, outcome.stderr
    found = {item["name"]: item for item in outcome.json["nodes"]}
    (tenant,) = found["one"]["tenants"]
    assert tenant["service"] == "vision/net"
    assert 0 < tenant["predictedMilliseconds"] < 60
    assert tenant["headroomMilliseconds"] == pytest.approx(60 - tenant["predictedMilliseconds"])
    assert found["one"]["otherPods"] == ["vision/other"]
    assert found["one"]["cpuMillicoresLeft"] == 2500
    assert found["two"]["tenants"] == []
    assert found["three"]["cpuDevice"] is None
    assert "HEADROOM MS" in run("nodes", "--cluster", cluster, "--bundle", desk.bundle).stdout


def test_explain_names_parts_ladder_and_every_node(plugin: Run, desk: Desk, cluster: Path) -> None:
    """What a server's time is made of, which rung stands, and for one more server a yes with a number or a reason for each node."""
    outcome = plugin("explain", "net", "-n", "vision", "--cluster", cluster, "--bundle", desk.bundle, "-o", "json")
    assert outcome.status == 0, outcome.stderr
    (server,) = outcome.json["servers"]
    assert 0 < server["isolatedMilliseconds"] <= server["besideMilliseconds"] <= server["responseMilliseconds"] <= server["predictedMilliseconds"]
    parts = sum(server[f"{part}Milliseconds"] for part in ("isolated", "colocation", "queueing"))
    assert parts == pytest.approx(server["responseMilliseconds"])
    assert [rung["sliceClass"] for rung in outcome.json["ladder"]] == ["slow/cpu:1", "quick/cpu:1"]
    more = outcome.json["oneMore"]
    assert more["one"]["accepted"]
    assert "offers no slice quick/cpu:1" in more["two"]["reason"]
    assert not more["three"]["accepted"]
    table = plugin("explain", "net", "-n", "vision", "--cluster", cluster, "--bundle", desk.bundle).stdout
    assert "Scheduled is False (RungChosen): one replica waits" in table
    assert "p95 within 60 ms, by predictions that are unvalidated or surer; slice quick/cpu:1" in " ".join(table.split())
    assert "MissesObjective: too slow" in table
    assert [rung["skipped"] for rung in outcome.json["ladder"]] == ["MissesObjective", None]
    assert "One more server:" in table


def test_explain_shows_the_parts_where_no_server_runs(plugin: Run, desk: Desk, tmp_path: Path) -> None:
    """Pods that wait are when people ask: the parts of a server with nobody beside it stand in their place."""
    path = tmp_path / "cluster.yaml"
    path.write_text(listed([described(), graph(), node("one"), service("net", 60, **on_one_core()) | {"status": status("quick/cpu:1")}]))
    outcome = plugin("explain", "net", "-n", "vision", "--cluster", path, "--bundle", desk.bundle, "-o", "json")
    assert outcome.json["servers"] == []
    assert 0 < outcome.json["alone"]["isolatedMilliseconds"] <= outcome.json["alone"]["responseMilliseconds"]
    table = plugin("explain", "net", "-n", "vision", "--cluster", path, "--bundle", desk.bundle).stdout
    assert "No server has a node yet." in table
    assert "+ QUEUEING" in table


def test_explain_of_a_service_whose_model_lies_elsewhere_shows_what_there_is(plugin: Run, desk: Desk, tmp_path: Path) -> None:
    """Ladder and conditions stand in the cluster; that the model is in a bucket is said, with what to do."""
    far = service("net", 60, model={"uri": "s3://models/net.onnx"}, **on_one_core()) | {"status": status("quick/cpu:1")}
    path = tmp_path / "cluster.yaml"
    path.write_text(listed([described(), node("one"), far, pod("net-0", "one", service="net")]))
    outcome = plugin("explain", "net", "-n", "vision", "--cluster", path, "--bundle", desk.bundle)
    assert outcome.status == 0, outcome.stderr
    assert "MissesObjective: too slow" in outcome.stdout
    assert "Scheduled is False" in outcome.stdout
    assert "vision/net-0" in outcome.stdout
    assert "put the file into the directory of --models" in outcome.stderr


def test_a_service_that_is_not_there_is_refused_with_those_that_are(plugin: Run, desk: Desk, cluster: Path) -> None:
    """The message lists what there is."""
    outcome = plugin("explain", "nett", "-n", "vision", "--cluster", cluster, "--bundle", desk.bundle)
    assert outcome.status == 1
    assert "vision/net" in outcome.stderr


def test_what_if_is_place_in_that_cluster(plugin: Run, desk: Desk, cluster: Path, tmp_path: Path) -> None:
    """A further service finds its place beside those there."""
    wanted = tmp_path / "services.yaml"
    wanted.write_text(listed([service("more", 60, **on_one_core())]))
    outcome = plugin("what-if", "-f", wanted, "--cluster", cluster, "--bundle", desk.bundle, "-o", "json")
    assert outcome.status == 0, outcome.stderr
    assert [item["node"] for item in outcome.json["placements"]] == ["one"]


@pytest.mark.parametrize("command", ["nodes", "snapshot", "explain net"])
def test_without_credentials_the_message_says_what_to_name(plugin: Run, command: str, tmp_path: Path) -> None:
    """No cluster is guessed: the option is named, nothing is written."""
    outcome = plugin(*command.split(), "--kubeconfig", tmp_path / "none")
    assert outcome.status == 1
    assert "--kubeconfig" in outcome.stderr


def test_a_cluster_that_does_not_answer_is_named(plugin: Run, tmp_path: Path) -> None:
    """The host is in the message."""
    config = tmp_path / "config"
    config.write_text(
        listed([]).replace('"List"', '"Config"')[:-1]
        + ', "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "u", "user": {}}],'
        + ' "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}'
    )
    outcome = plugin("nodes", "--kubeconfig", config)
    assert outcome.status == 1
    assert "http://127.0.0.1:9 does not answer" in outcome.stderr

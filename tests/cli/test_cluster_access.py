"""`kubectl stowplan` before a real API server: it changes nothing, and says what is missing: the definition, a right, credentials, trust, the cluster."""

import json
from collections.abc import Iterator
from pathlib import Path

import controlplane_parts as parts
import pytest
import yaml
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster
from stowplan_fleet import keys
from support import api_definitions
from support.cluster_objects import Object, described, graph, listed, node, on_one_core, pod, service
from support.command_lines import Desk, Run
from support.controlplane import apply

pytestmark = pytest.mark.controlplane

READABLE = {"nodes": "", "pods": "", keys.PLURAL: keys.GROUP, "configmaps": ""}


@pytest.fixture(scope="module")
def bare(controlplane_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server of its own, without the definition of InferenceServices until a test applies it."""
    cluster = Cluster(controlplane_binaries, tmp_path_factory.mktemp("bare"))
    try:
        parts.start_apiserver(cluster)
        yield cluster
    finally:
        cluster.stop_all()


def reader(cluster: Cluster, name: str, without: str = "") -> Path:
    """A kubeconfig of somebody who may get and list what the commands read, but for one resource, and may write nothing."""
    rules = [{"apiGroups": [group], "resources": [plural], "verbs": ["get", "list"]} for plural, group in READABLE.items() if plural != without]
    subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
    apply(
        cluster,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}, "subjects": [subject],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        },
    )  # fmt: skip
    return cluster.write_kubeconfig(name, cluster.kubectl("create", "token", name, "-n", "default").strip())


def altered(bare: Cluster, path: Path, *, token: str = "", trusted: bool = True) -> Path:
    """The administrator's kubeconfig with another token, or without the certificate to trust."""
    config = json.loads(bare.kubeconfig().read_text())
    if token:
        config["users"][0]["user"]["token"] = token
    if not trusted:
        del config["clusters"][0]["cluster"]["certificate-authority"]
    path.write_text(json.dumps(config))
    return path


@pytest.fixture(scope="module")
def served(bare: Cluster) -> Cluster:
    """The definition, a node with a server of ours on it, and the service as its operator would have it."""
    api_definitions.serve(bare)
    namespaces: list[Object] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("vision", "stowplan-system")]
    apply(bare, *namespaces)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "vision"}}
    container = {"name": "c", "image": "example.com/it", "env": [{"name": "TOKEN", "value": "s3cret"}]}
    wanted = service("net", 60, template={"spec": {"containers": [container]}}, **on_one_core())
    standing = pod("net-0", "one", service="net")
    del standing["metadata"]["uid"]
    standing["spec"]["containers"][0] |= container
    resources = standing["spec"]["containers"][0]["resources"]
    resources["limits"] = {keys.MARKER_RESOURCE: resources["requests"][keys.MARKER_RESOURCE]}
    machine = node("one")
    for item in (account, described(), machine, wanted, standing):
        apply(bare, item)
    bare.kubectl("create", "-f", "-", stdin=json.dumps(graph()))
    bare.kubectl("patch", "node", "one", "--subresource=status", "--type=merge", "-p", json.dumps({"status": machine["status"]}))
    # The API server puts a taint on every new node, which a controller takes away once it is ready.
    bare.kubectl("patch", "node", "one", "--type=merge", "-p", json.dumps({"spec": {"taints": None}}))
    status = {"status": {"sliceClass": "quick/cpu:1", "replicas": 1}}
    bare.kubectl("patch", keys.PLURAL, "net", "-n", "vision", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    return bare


def test_without_the_definition_it_is_said_what_to_install(bare: Cluster, plugin: Run) -> None:
    """Status 1 and the next command, of each command that reads the cluster."""
    for command in (["nodes"], ["snapshot"], ["explain", "net"], ["audit"]):
        outcome = plugin(*command, "--kubeconfig", bare.kubeconfig())
        assert outcome.status == 1
        assert f"{bare.url} knows no InferenceServices" in outcome.stderr
        assert "helm install stowplan" in outcome.stderr
        assert outcome.stdout == ""


def test_credentials_that_are_not_accepted_are_no_missing_right(bare: Cluster, plugin: Run, tmp_path: Path) -> None:
    """An expired token wants a new login, not another role."""
    outcome = plugin("nodes", "--kubeconfig", altered(bare, tmp_path / "config", token="nobodys"))
    assert outcome.status == 1
    assert "does not accept your credentials (401" in outcome.stderr


def test_a_cluster_that_cannot_be_trusted_is_not_one_that_is_away(bare: Cluster, plugin: Run, tmp_path: Path) -> None:
    """A certificate that nobody here trusts is named as the cause."""
    outcome = plugin("nodes", "--kubeconfig", altered(bare, tmp_path / "config", trusted=False))
    assert outcome.status == 1
    assert "cannot be trusted" in outcome.stderr


def test_a_context_that_is_not_there_is_named(bare: Cluster, plugin: Run) -> None:
    """The name that was typed stands in the message."""
    outcome = plugin("nodes", "--kubeconfig", bare.kubeconfig(), "--context", "nowhere")
    assert outcome.status == 1
    assert "nowhere" in outcome.stderr


@pytest.mark.parametrize(("without", "named"), [("nodes", "Nodes"), ("pods", "Pods"), (keys.PLURAL, "InferenceServices"), ("configmaps", "ConfigMaps")])
def test_the_right_that_is_missing_is_named(served: Cluster, plugin: Run, without: str, named: str) -> None:
    """Whichever of the four may not be listed: its name, and what to ask for."""
    outcome = plugin("nodes", "--kubeconfig", reader(served, f"without-{without}", without))
    assert outcome.status == 1
    assert f"you may not read {named} at {served.url} (403 Forbidden): ask for the right to list them in all namespaces" in outcome.stderr


def test_who_may_only_read_can_ask_everything(served: Cluster, plugin: Run, desk: Desk, tmp_path: Path) -> None:
    """Each command works for somebody who may get and list and nothing else, so that none of them changes anything; and no object has changed after them."""
    wanted = tmp_path / "services.yaml"
    wanted.write_text(listed([service("more", 60, **on_one_core())]))
    common = ["--kubeconfig", reader(served, "reader"), "--bundle", desk.bundle, "-o", "json"]

    def versions() -> dict[str, str]:
        kinds = ("nodes", "pods", "configmaps", f"{keys.PLURAL}.{keys.GROUP}")
        return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for kind in kinds for item in served.get(kind, "-A")["items"]}

    before = versions()
    nodes = plugin("nodes", *common)
    assert nodes.status == 0, nodes.stderr
    (tenant,) = nodes.json["nodes"][0]["tenants"]
    assert 0 < tenant["headroomMilliseconds"] < 60
    explained = plugin("explain", "net", "-n", "vision", *common)
    assert explained.status == 0, explained.stderr
    assert [server["pod"] for server in explained.json["servers"]] == ["vision/net-0"]
    asked = plugin("what-if", "-f", wanted, *common)
    assert [item["node"] for item in asked.json["placements"]] == ["one"], asked.stderr
    assert plugin("audit", *common).json["findings"]
    taken = plugin("snapshot", "--kubeconfig", common[1])
    assert taken.status == 0, taken.stderr
    assert "s3cret" not in taken.stdout
    assert {item["kind"] for item in yaml.safe_load(taken.stdout)["items"]} == {"Node", "Pod", "ConfigMap", keys.KIND}
    assert versions() == before


def test_a_cluster_that_went_away_is_named(served: Cluster, plugin: Run) -> None:
    """Its address, and what to check."""
    served.stop("kube-apiserver", kill=True)
    outcome = plugin("nodes", "--kubeconfig", served.kubeconfig())
    assert outcome.status == 1
    assert f"{served.url} does not answer (NewConnectionError)" in outcome.stderr

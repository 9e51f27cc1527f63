"""A release from installation to removal, on a real API server: rights, upgrade, a second release, what stays."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import controlplane_parts as parts
import pytest
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster
from support.controlplane import apply

pytestmark = pytest.mark.controlplane
CHARTS = Path(__file__).resolve().parents[2] / "charts"
CHART = CHARTS / "stowplan"
SYSTEM = "stowplan-system"
OLD = {
    "apiVersion": "stowplan.dev/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "old", "namespace": "default"},
    "spec": {
        "model": {"uri": "configmap://net-graph/model.onnx"},
        "slo": {"latencyMilliseconds": 50},
        "load": {"requestsPerSecond": 1},
        "placement": {"onUnknown": "Allow"},
        "template": {"spec": {"containers": [{"name": "server", "image": "i"}]}},
    },
}


@pytest.fixture(scope="module")
def released(controlplane_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server of its own with the previous release of the chart installed and upgraded to this one."""
    cluster = Cluster(controlplane_binaries, tmp_path_factory.mktemp("released"))
    try:
        parts.start_apiserver(cluster)
        previous = max(CHARTS.glob("released/stowplan-*.tgz"), key=lambda path: [int(part) for part in path.stem.split("-")[1].split(".")])
        installed = helm(cluster, "install", "stowplan", str(previous), "-n", SYSTEM, "--create-namespace")
        assert installed.returncode == 0, installed.stderr
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=20s", "crd/inferenceservices.stowplan.dev")
        apply(cluster, OLD)
        upgraded = helm(cluster, "upgrade", "stowplan", str(CHART), "-n", SYSTEM)
        assert upgraded.returncode == 0, upgraded.stderr
        yield cluster
    finally:
        cluster.stop_all()


def helm(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [cluster.binaries.path("helm"), "--kubeconfig", str(cluster.kubeconfig()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_an_upgrade_from_the_previous_chart_brings_what_is_new(released: Cluster) -> None:
    """What the previous chart did not have is there, and the API's definition was upgraded with it."""
    assert released.kubectl("-n", SYSTEM, "get", "networkpolicy", "-o", "name").count("networkpolicy") == 3
    history = json.loads(helm(released, "history", "stowplan", "-n", SYSTEM, "-o", "json").stdout)
    assert [(item["revision"], item["status"]) for item in history] == [(1, "superseded"), (2, "deployed")]
    found = json.loads(released.kubectl("get", "crd", "inferenceservices.stowplan.dev", "-o", "json"))
    assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_services_of_the_previous_release_stay_and_may_say_what_is_new(released: Cluster) -> None:
    """One that was written before the upgrade takes every prediction as it did, and takes a field that the former definition did not know."""
    before = released.get("stow/old", "-n", "default")["spec"]["placement"]
    released.kubectl("patch", "stow/old", "-n", "default", "--type=merge", "-p", '{"spec": {"placement": {"minimumBasis": "measured"}}}')
    after = released.get("stow/old", "-n", "default")["spec"]["placement"]
    assert before == {"onUnknown": "Allow", "minimumBasis": "unvalidated", "sharing": "Allow", "sliceClasses": []}
    assert after == before | {"minimumBasis": "measured"}


MAY = [
    ("operator", "create", "deployments.apps", "team-a"),
    ("operator", "patch", "deployments.apps", "team-a"),
    ("operator", "patch", "inferenceservices/status", "team-a"),
    ("operator", "list", "nodes", ""),
    ("operator", "create", "events", "team-a"),
    ("scheduler", "create", "pods/binding", "team-a"),
    ("scheduler", "patch", "pods", "team-a"),
    ("scheduler", "list", "inferenceservices", "team-a"),
    ("scheduler", "update", "leases/stowplan-scheduler", SYSTEM),
    ("scheduler", "list", "configmaps", SYSTEM),
]
MAY_NOT = [
    ("operator", "get", "secrets", "team-a"),
    ("operator", "delete", "deployments.apps", "team-a"),
    ("operator", "delete", "inferenceservices", "team-a"),
    ("operator", "create", "pods", "team-a"),
    ("operator", "update", "nodes", ""),
    ("operator", "create", "clusterrolebindings", ""),
    ("operator", "create", "pods/exec", "team-a"),
    ("operator", "impersonate", "users", ""),
    ("operator", "patch", "inferenceservices", "team-a"),
    ("scheduler", "get", "secrets", "team-a"),
    ("scheduler", "list", "configmaps", "team-a"),
    ("scheduler", "update", "leases/another", SYSTEM),
    ("scheduler", "create", "pods/exec", "team-a"),
    ("scheduler", "patch", "inferenceservices", "team-a"),
    ("scheduler", "update", "nodes", ""),
    ("predictor", "get", "pods", SYSTEM),
    ("predictor", "list", "nodes", ""),
    ("predictor", "get", "configmaps", SYSTEM),
    ("predictor", "list", "inferenceservices", "team-a"),
]


def can(cluster: Cluster, component: str, verb: str, resource: str, namespace: str) -> bool:
    scope = ["-n", namespace] if namespace else []
    # kubectl reads a name after the slash.
    resource, _, part = resource.partition("/")
    if part in ("status", "binding", "exec"):
        scope.append(f"--subresource={part}")
    elif part:
        resource = f"{resource}/{part}"
    account = f"--as=system:serviceaccount:{SYSTEM}:stowplan-{component}"
    command = [cluster.binaries.path("kubectl"), "--kubeconfig", str(cluster.kubeconfig()), "auth", "can-i", verb, resource, account, *scope]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip() == "yes"


@pytest.mark.parametrize(("component", "verb", "resource", "namespace"), MAY)
def test_each_component_may_do_its_work(released: Cluster, component: str, verb: str, resource: str, namespace: str) -> None:
    """The API server itself says yes."""
    assert can(released, component, verb, resource, namespace)


@pytest.mark.parametrize(("component", "verb", "resource", "namespace"), MAY_NOT)
def test_no_component_may_do_more(released: Cluster, component: str, verb: str, resource: str, namespace: str) -> None:
    """The API server itself says no: a predictor that was taken over can do nothing in the cluster at all."""
    assert not can(released, component, verb, resource, namespace)


def test_people_who_may_edit_a_namespace_may_edit_its_services(released: Cluster) -> None:
    """The rights are part of the cluster's own roles: viewers read, editors write, nobody writes the status."""
    roles = json.loads(released.kubectl("get", "clusterroles", "-l", "app.kubernetes.io/component=rights", "-o", "json"))["items"]
    by_name = {item["metadata"]["name"]: item for item in roles}
    assert by_name["stowplan-view"]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in by_name["stowplan-edit"]["metadata"]["labels"]
    assert "inferenceservices/status" not in by_name["stowplan-edit"]["rules"][0]["resources"]


def test_a_second_release_is_refused_with_the_reason(released: Cluster) -> None:
    """Another name or another namespace: the message names the release that is there."""
    for name, namespace in (("other", SYSTEM), ("stowplan", "elsewhere")):
        refused = helm(released, "install", name, str(CHART), "-n", namespace, "--create-namespace", "--set", "crds.enabled=false")
        assert refused.returncode != 0
        assert f"release stowplan in namespace {SYSTEM} already runs Stowplan" in refused.stderr


def test_uninstalling_keeps_the_api(released: Cluster) -> None:
    """The definition, and with it everybody's services, outlive the release; everything else goes."""
    removed = helm(released, "uninstall", "stowplan", "-n", SYSTEM)
    assert removed.returncode == 0, removed.stderr
    assert "inferenceservices.stowplan.dev" in released.kubectl("get", "crd", "-o", "name")
    assert not released.kubectl("-n", SYSTEM, "get", "deployments,networkpolicies", "-o", "name").strip()
    assert not released.kubectl("get", "clusterroles", "-l", "app.kubernetes.io/name=stowplan", "-o", "name").strip()

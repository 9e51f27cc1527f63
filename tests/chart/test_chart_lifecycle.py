"""A release from installation to removal, on a real API server: rights, upgrade, a second release, what stays."""

import base64
import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import controlplane_parts as parts
import pytest
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster
from cryptography import x509
from support.controlplane import apply, wait_until

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
        # Not with `kubectl wait`, which fails while the definition has no conditions yet.
        wait_until(lambda: cluster.answers("/apis/stowplan.dev/v1alpha1"), 20, "the API is not served")
        apply(cluster, OLD)
        upgraded = helm(cluster, "upgrade", "stowplan", str(CHART), "-n", SYSTEM)
        assert upgraded.returncode == 0, upgraded.stderr
        yield cluster
    finally:
        cluster.stop_all()


def helm(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(cluster.binaries.path("helm")), "--kubeconfig", str(cluster.kubeconfig()), *arguments]
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


def certificates(cluster: Cluster) -> dict[str, dict[str, str]]:
    """What the Secrets of the release hold, by name."""
    items = json.loads(cluster.kubectl("-n", SYSTEM, "get", "secrets", "-l", "app.kubernetes.io/component=certificates", "-o", "json"))["items"]
    return {item["metadata"]["name"]: item["data"] for item in items}


def upgrade(cluster: Cluster, *arguments: str) -> dict[str, dict[str, str]]:
    """The certificates after an upgrade."""
    done = helm(cluster, "upgrade", "stowplan", str(CHART), "-n", SYSTEM, *arguments)
    assert done.returncode == 0, done.stderr
    return certificates(cluster)


COMPONENTS = {f"stowplan-{name}-tls" for name in ("predictor", "operator", "scheduler")}
AUTHORITY = "stowplan-authority-tls"


def test_an_upgrade_keeps_the_certificates(released: Cluster) -> None:
    """Those that the first upgrade to this chart made are there after the next one, byte by byte, and no pod is replaced."""
    before = certificates(released)
    generations = "-o=jsonpath={range .items[*]}{.metadata.name}={.metadata.generation} {end}"
    deployed = released.kubectl("-n", SYSTEM, "get", "deployments", generations)
    assert set(before) == COMPONENTS | {AUTHORITY}
    assert upgrade(released) == before
    assert "RENDERED WITHOUT A CLUSTER" not in helm(released, "get", "manifest", "stowplan", "-n", SYSTEM).stdout
    assert released.kubectl("-n", SYSTEM, "get", "deployments", generations) == deployed


def test_an_upgrade_renews_what_is_due_and_nothing_else(released: Cluster) -> None:
    """A certificate two thirds of whose time are over is signed anew by the same authority; the others stay."""
    before = certificates(released)
    released.kubectl("-n", SYSTEM, "annotate", "--overwrite", "secret", "stowplan-operator-tls", "stowplan.dev/renew-after=1000000000")
    after = upgrade(released, "--force-conflicts")  # with the annotation that kubectl wrote
    assert {name for name in before if after[name] != before[name]} == {"stowplan-operator-tls"}
    assert after["stowplan-operator-tls"]["ca.crt"] == before["stowplan-operator-tls"]["ca.crt"]
    assert upgrade(released) == after


def test_another_time_of_validity_renews_all_but_the_authority(released: Cluster) -> None:
    """What is asked for is what certificates say."""
    before = certificates(released)
    after = upgrade(released, "--set", "tls.generated.days=90")
    assert {name for name in before if after[name] != before[name]} == COMPONENTS
    found = x509.load_pem_x509_certificate(base64.b64decode(after["stowplan-predictor-tls"]["tls.crt"]))
    assert (found.not_valid_after_utc - found.not_valid_before_utc).days == 90


def test_a_deleted_authority_is_replaced_with_all_that_it_signed(released: Cluster) -> None:
    """As the runbook says for a key that somebody else may have: one new authority for all."""
    before = certificates(released)
    released.kubectl("-n", SYSTEM, "delete", "secret", AUTHORITY)
    after = upgrade(released)
    assert all(after[name] != before[name] for name in before)
    assert {after[name]["ca.crt"] for name in after} == {after[AUTHORITY]["ca.crt"]}
    signer = x509.load_pem_x509_certificate(base64.b64decode(after[AUTHORITY]["ca.crt"]))
    for name in COMPONENTS:
        x509.load_pem_x509_certificate(base64.b64decode(after[name]["tls.crt"])).verify_directly_issued_by(signer)


# Everything that our own rules grant, each for a call that the component makes; what is not here is granted to nobody.
MAY = {
    ("operator", verb, resource, "*")
    for resource, verbs in {
        "inferenceservices.stowplan.dev": ("list", "watch"),
        "inferenceservices.stowplan.dev/status": ("patch",),
        "nodes": ("list", "watch"),
        "pods": ("list", "watch"),
        "configmaps": ("get", "list", "watch"),  # get: a model's
        "deployments.apps": ("get", "list", "watch", "create", "patch"),  # get: before it is written
        "events": ("create",),
        "customresourcedefinitions.apiextensions.k8s.io": ("list", "watch"),  # by kopf
    }.items()
    for verb in verbs
} | {
    ("scheduler", verb, resource, namespace)
    for namespace, rules in {
        "*": {
            "inferenceservices.stowplan.dev": ("list", "watch"),
            "nodes": ("list", "watch"),
            "pods": ("get", "list", "watch", "patch"),  # get: bindings in doubt; patch: wake-ups
            "pods/binding": ("create",),
        },
        SYSTEM: {
            "configmaps": ("list", "watch"),  # descriptors
            "leases.coordination.k8s.io": ("create",),
            "leases.coordination.k8s.io/stowplan-scheduler": ("get", "update"),
        },
    }.items()
    for resource, verbs in rules.items()
    for verb in verbs
}
MAY_NOT = [
    ("operator", "get", "secrets", "team-a"),
    ("operator", "get", "secrets", SYSTEM),
    ("scheduler", "get", "secrets", SYSTEM),
    ("predictor", "get", "secrets", SYSTEM),
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
    command = [str(cluster.binaries.path("kubectl")), "--kubeconfig", str(cluster.kubeconfig()), "auth", "can-i", verb, resource, account, *scope]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip() == "yes"


def granted(cluster: Cluster) -> set[tuple[str, str, str, str]]:
    """What the release's own roles grant to its accounts, one verb on one resource each: component, verb, resource, namespace (`*`: all)."""
    kinds = "clusterroles,roles,clusterrolebindings,rolebindings"
    items = json.loads(cluster.kubectl("get", kinds, "-A", "-l", "app.kubernetes.io/name=stowplan", "-o", "json"))["items"]
    rules = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]): item["rules"] for item in items if "rules" in item}
    found = set()
    for item in items:
        namespace = item["metadata"].get("namespace")
        role = (item["roleRef"]["kind"], namespace, item["roleRef"]["name"]) if "roleRef" in item else None
        for rule in rules.get(role, ()) if role else ():
            for subject in item["subjects"]:
                for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                    kind, _, part = resource.partition("/")
                    kind = f"{kind}.{group}" if group else kind
                    named = [f"/{name}" for name in rule.get("resourceNames", ())] or [f"/{part}" if part else ""]
                    found |= {(subject["name"].removeprefix("stowplan-"), verb, f"{kind}{name}", namespace or "*") for name in named}
    return found


def test_nothing_is_granted_but_what_each_component_calls(released: Cluster) -> None:
    """The rules, taken apart, are the table above: neither one more nor one less. The predictor has none; nobody has a wildcard."""
    assert granted(released) == MAY


@pytest.mark.parametrize(("component", "verb", "resource", "namespace"), sorted(MAY))
def test_each_component_may_do_its_work(released: Cluster, component: str, verb: str, resource: str, namespace: str) -> None:
    """The API server itself says yes."""
    cluster_wide = resource.startswith(("nodes", "customresource"))
    assert can(released, component, verb, resource, "" if cluster_wide else "team-a" if namespace == "*" else namespace)


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


def test_uninstalling_keeps_the_api_and_nothing_else(released: Cluster) -> None:
    """The definition, and with it everybody's services, outlive the release; every other object goes, and no finalizer of ours holds what is deleted later."""
    manifest = helm(released, "get", "manifest", "stowplan", "-n", SYSTEM).stdout
    removed = helm(released, "uninstall", "stowplan", "-n", SYSTEM)
    assert removed.returncode == 0, removed.stderr
    left = released.kubectl("get", "-f", "-", "--ignore-not-found", "-o", "name", stdin=manifest).split()
    assert left == ["customresourcedefinition.apiextensions.k8s.io/inferenceservices.stowplan.dev"]
    assert "finalizers" not in released.get("stow/old", "-n", "default")["metadata"]
    released.kubectl("-n", "default", "delete", "stow/old", "--timeout=20s")

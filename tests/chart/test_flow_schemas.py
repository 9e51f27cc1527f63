"""Priority and fairness: the API server itself says in which flow a request of the scheduler's account is."""

import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import controlplane_parts as parts
import pytest
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster
from support.components import CHART, SYSTEM_NAMESPACE
from support.controlplane import wait_until

pytestmark = pytest.mark.controlplane


@pytest.fixture(scope="module")
def fair(controlplane_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with priority and fairness, as clusters have it, and the chart."""
    cluster = Cluster(controlplane_binaries, tmp_path_factory.mktemp("fair"))
    try:
        parts.start_apiserver(cluster, flags={"enable-priority-and-fairness": "true"})
        helm = [str(controlplane_binaries.path("helm")), "--kubeconfig", str(cluster.kubeconfig())]
        subprocess.run([*helm, "install", "stowplan", str(CHART), "-n", SYSTEM_NAMESPACE, "--create-namespace"], check=True, capture_output=True, timeout=120)
        yield cluster
    finally:
        cluster.stop_all()


def flow(cluster: Cluster, token: str, path: str) -> tuple[str, str]:
    """FlowSchema and priority level, by name, in which a GET of that account is; how it is answered plays no part."""
    request = urllib.request.Request(f"{cluster.url}{path}", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 -- our own https URL
    try:
        with urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=cluster.ca_file)) as answer:  # noqa: S310
            said = answer.headers
    except urllib.error.HTTPError as refused:
        said = refused.headers
        refused.close()
    return named(cluster, "flowschemas", said["X-Kubernetes-PF-FlowSchema-UID"]), named(
        cluster, "prioritylevelconfigurations", said["X-Kubernetes-PF-PriorityLevel-UID"]
    )


def named(cluster: Cluster, kind: str, uid: str) -> str:
    return next(str(item["metadata"]["name"]) for item in cluster.get(kind)["items"] if item["metadata"]["uid"] == uid)


LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases/stowplan-scheduler"
PODS = "/api/v1/pods?limit=1"


@pytest.mark.parametrize(
    ("account", "path", "expected"),
    [
        ("stowplan-scheduler", LEASES, ("stowplan-scheduler-leases", "leader-election")),
        ("stowplan-scheduler", PODS, ("stowplan-scheduler-requests", "workload-high")),
        ("stowplan-scheduler", "/version", ("stowplan-scheduler-requests", "workload-high")),
        ("stowplan-operator", PODS, ("service-accounts", "workload-low")),
    ],
)
def test_the_scheduler_waits_where_the_clusters_own_does(fair: Cluster, account: str, path: str, expected: tuple[str, str]) -> None:
    """Its Lease is renewed with those of leaders, its other requests are of high priority; the operator may wait with all service accounts."""
    token = fair.kubectl("create", "token", account, "-n", SYSTEM_NAMESPACE).strip()
    # The API server takes a new schema up a moment after it was written.
    wait_until(lambda: flow(fair, token, path) == expected, 10, lambda: f"{account} {path} is in {flow(fair, token, path)}")

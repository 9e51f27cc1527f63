"""The control plane that the other tests stand on."""

import pytest
from controlplane_clusters import Cluster, CommandFailed
from support.controlplane import apply, node, own_namespace, own_nodes, wait_until

pytestmark = pytest.mark.controlplane


def test_the_api_server_is_the_pinned_one_and_knows_its_users(apiserver: Cluster) -> None:
    """The real API server answers at the pinned version, and a user without a role is refused by RBAC."""
    version = apiserver.kubectl("get", "--raw", "/version")

    assert '"gitVersion": "v1.36.3"' in version
    with pytest.raises(CommandFailed, match="cannot list resource"):
        apiserver.get("secrets", "-A", user="system:kube-scheduler")


def test_a_pod_runs_on_a_played_node(controlplane: Cluster) -> None:
    """A plain pod is bound by the default scheduler and runs, because kwok plays the kubelet."""
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  containers: [{name: it, image: none, resources: {requests: {cpu: "1"}}}]
"""
    with own_nodes(controlplane, node("played", "2")), own_namespace(controlplane, "plain") as namespace:
        apply(controlplane, pod, namespace=namespace)
        found = wait_until(
            lambda: _running(controlplane, namespace),
            20,
            lambda: controlplane.kubectl("describe", "pod", "plain", "-n", namespace),
        )

    assert found == "played"


def _running(cluster: Cluster, namespace: str) -> str:
    pod = cluster.get("pod", "plain", "-n", namespace)
    return str(pod["spec"]["nodeName"]) if pod["status"].get("phase") == "Running" else ""

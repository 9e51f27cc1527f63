"""The control plane that the other tests stand on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster
from controlplane_errors import CommandFailed
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


def test_nothing_outlives_a_killed_test_run(controlplane_binaries: Binaries, tmp_path: Path) -> None:
    """When whoever started a cluster is killed without a chance to clean up, the kernel ends the cluster."""
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[2] / "tools")!r})
from pathlib import Path
import controlplane_parts as parts
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster
cluster = Cluster(Binaries(Path({str(controlplane_binaries.folder)!r})), Path({str(tmp_path)!r}))
parts.start_apiserver(cluster)
print(*cluster.processes.values(), flush=True)
time.sleep(60)
"""
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pids = starter.stdout.readline().split()
    assert len(pids) == 2
    assert all(_lives(pid) for pid in pids)

    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()

    wait_until(lambda: not any(_lives(pid) for pid in pids), 10, f"one of the processes {pids} still runs")


def _lives(pid: str) -> bool:
    """True where the process runs; one that ended and that nobody has asked about yet does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX"


def _running(cluster: Cluster, namespace: str) -> str:
    pod = cluster.get("pod", "plain", "-n", namespace)
    return str(pod["spec"]["nodeName"]) if pod["status"].get("phase") == "Running" else ""

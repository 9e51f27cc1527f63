"""`kubectl stowplan` on a live cluster: through kubectl, as people type it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from controlplane_clusters import Cluster

pytestmark = pytest.mark.controlplane


def kubectl(cluster: Cluster, *arguments: str, user: str = "admin") -> subprocess.CompletedProcess[str]:
    """Runs kubectl with the plugin that is installed beside this Python on its path."""
    beside = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": f"{beside}:{os.environ['PATH']}", "KUBECONFIG": str(cluster.kubeconfig(user))}
    return subprocess.run([cluster.binaries.path("kubectl"), *arguments], capture_output=True, text=True, check=False, timeout=120, env=environment)


@pytest.mark.usefixtures("devices")
def test_a_snapshot_of_a_live_cluster_answers_offline_as_the_cluster_does(controlplane: Cluster, tmp_path: Path) -> None:
    """Nodes read live and from the snapshot are the same; the snapshot holds descriptors and no managed fields."""
    assert shutil.which("kubectl-stowplan", path=str(Path(sys.executable).parent))
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "seen-by-the-plugin"}}
    controlplane.kubectl("apply", "-f", "-", stdin=json.dumps(node))
    file = tmp_path / "cluster.yaml"
    taken = kubectl(controlplane, "stowplan", "snapshot", "-f", str(file))
    assert taken.returncode == 0, taken.stderr
    items = yaml.safe_load(file.read_text())["items"]
    assert any(item["kind"] == "ConfigMap" for item in items)
    assert not any("fieldsV1" in entry for item in items for entry in item["metadata"].get("managedFields", ()))
    live = kubectl(controlplane, "stowplan", "nodes", "-o", "json")
    controlplane.kubectl("delete", "node", "seen-by-the-plugin", "--wait=false")
    assert live.returncode == 0, live.stderr
    offline = kubectl(controlplane, "stowplan", "nodes", "--cluster", str(file), "-o", "json")
    assert offline.returncode == 0, offline.stderr
    names = [[item["name"] for item in json.loads(run.stdout)["nodes"]] for run in (live, offline)]
    assert "seen-by-the-plugin" in names[0]
    assert names[0] == names[1]


@pytest.mark.usefixtures("devices")
def test_a_service_that_is_not_there_is_said_by_name(controlplane: Cluster) -> None:
    """Exit status 1, the name, and no traceback."""
    run = kubectl(controlplane, "stowplan", "explain", "nobody", "-n", "default")
    assert run.returncode == 1
    assert "there is no InferenceService default/nobody" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.usefixtures("devices")
def test_without_rights_the_missing_one_is_named(controlplane: Cluster) -> None:
    """A user who may list nodes and pods but no services learns which right to ask for."""
    run = kubectl(controlplane, "stowplan", "nodes", user="system:kube-scheduler")
    assert run.returncode == 1
    assert "you may not read" in run.stderr

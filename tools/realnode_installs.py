"""What a platform engineer does on a fresh cluster: install the chart, describe a device and label its node, apply an example."""

import json
import subprocess
import time
from typing import Any, Final

from controlplane_clusters import Cluster
from controlplane_errors import CommandFailed
from realnode_images import CHART
from realnode_lifecycles import NODE

SYSTEM: Final = "stowplan-system"
EXAMPLES: Final = CHART.parent.parent / "examples"
# The device that examples/serving.yaml names.
DEVICE: Final = "this-machine"
EXAMPLE_NAMESPACE: Final = "vision"
EXAMPLE_SERVICE: Final = "shelf-labels"
_INSTALL_TIMEOUT_S: Final = 420


def install_chart(cluster: Cluster, *values: str) -> None:
    """`helm install` with the chart's defaults, or with some values set, and waits until every pod is ready.

    Raises:
        CommandFailed: helm refused, or something was not ready in time; with what the cluster said.
    """
    options = [option for value in values for option in ("--set", value)]
    helm(cluster, "install", "stowplan", str(CHART), "-n", SYSTEM, "--create-namespace", "--wait", f"--timeout={_INSTALL_TIMEOUT_S}s", *options)


def helm(cluster: Cluster, *arguments: str) -> str:
    """Runs helm against the cluster; answers its standard output.

    Raises:
        CommandFailed: it ended with another status than 0; with the pods and latest events of our namespace.
    """
    command = [str(cluster.binaries.path("helm")), "--kubeconfig", str(cluster.kubeconfig()), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_TIMEOUT_S + 30)
    if run.returncode != 0:
        state = cluster.kubectl("-n", SYSTEM, "get", "pods,events", "-o", "wide")
        raise CommandFailed(f"helm {' '.join(arguments)}: {run.stderr.strip()}\n{state[-4000:]}")
    return run.stdout


def describe_device(cluster: Cluster, descriptor: dict[str, Any]) -> None:
    """Puts a device's descriptor into the cluster under the name that the examples use, and says that the real node has one."""
    named = json.dumps(descriptor | {"name": DEVICE}, indent=1)
    metadata = {"name": "devices", "namespace": SYSTEM, "labels": {"stowplan.dev/device-descriptors": "true"}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {f"{DEVICE}.json": named}}))
    cluster.kubectl("label", "node", NODE, f"stowplan.dev/device={DEVICE}", "--overwrite")


def apply_example(cluster: Cluster) -> None:
    """Applies examples/serving.yaml and the models it serves."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EXAMPLE_NAMESPACE}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    cluster.kubectl("apply", "-f", str(EXAMPLES / "models.yaml"), "-f", str(EXAMPLES / "serving.yaml"))


def await_service(cluster: Cluster, timeout_s: float) -> None:
    """Waits until the example's pod serves.

    Raises:
        CommandFailed: it does not within its time; with what the operator and the cluster say.
    """
    deadline = time.monotonic() + timeout_s
    where = ("-n", EXAMPLE_NAMESPACE)
    while time.monotonic() < deadline:
        status = cluster.get("inferenceservice", EXAMPLE_SERVICE, *where).get("status", {})
        if any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", [])):
            return
        time.sleep(0.5)
    said = [cluster.kubectl(*where, *command) for command in (("get", "stow", EXAMPLE_SERVICE, "-o", "yaml"), ("get", "pods,events", "-o", "wide"))]
    raise CommandFailed(f"{EXAMPLE_SERVICE} does not serve after {timeout_s:.0f} s:\n{''.join(said)[-6000:]}")

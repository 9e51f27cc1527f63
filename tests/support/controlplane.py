"""What tests do with a running control plane: apply objects, wait for something to come true, make nodes and namespaces.

The cluster itself is `tools/controlplane_clusters.Cluster`, started by the fixtures `apiserver` and `controlplane` of `tests/conftest.py`.
"""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from controlplane_clusters import Cluster
from controlplane_errors import CommandFailed

Found = TypeVar("Found")

# Between two looks. Short, because most waits here are for something that takes some hundred milliseconds; kubectl itself takes about 80.
_POLL_S = 0.05

_serial = itertools.count(1)


def wait_until(predicate: Callable[[], Found | None], timeout_s: float, message: str | Callable[[], str]) -> Found:
    """Looks again and again until the predicate answers something true, and answers that.

    Raises:
        AssertionError: it did not within `timeout_s`; with the message, and with what the last look saw.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > deadline:
            said = message if isinstance(message, str) else message()
            raise AssertionError(f"not within {timeout_s:g} s: {said} (last look: {found!r})")
        time.sleep(_POLL_S)


def apply(cluster: Cluster, *objects: str | Mapping[str, Any], namespace: str | None = None, user: str = "admin") -> None:
    """`kubectl apply -f -` of YAML documents or of objects.

    Raises:
        CommandFailed: the API server refused one.
    """
    documents = [item if isinstance(item, str) else json.dumps(item) for item in objects]
    where = ["-n", namespace] if namespace else []
    cluster.kubectl("apply", *where, "-f", "-", stdin="\n---\n".join(documents), user=user)


@contextlib.contextmanager
def own_namespace(cluster: Cluster, prefix: str) -> Iterator[str]:
    """A namespace for one test, gone (or going) afterwards; with its default service account, without which it takes no pods."""
    name = f"{prefix}-{next(_serial)}"
    cluster.kubectl("create", "namespace", name)
    if cluster.running("kube-controller-manager"):
        wait_until(lambda: _exists(cluster, "serviceaccount/default", name), 10, f"no default service account in namespace {name}")
    try:
        yield name
    finally:
        # Pods and services first and waited for, so that the next test finds no tenant of ours; the namespace itself may take its time.
        if cluster.running("kube-controller-manager"):
            with contextlib.suppress(CommandFailed):  # no such resource: the test has not installed the CRD
                cluster.kubectl("delete", "inferenceservices.stowplan.dev", "--all", "-n", name, "--timeout=20s")
            cluster.kubectl("delete", "deployments,replicasets", "--all", "-n", name, "--timeout=20s")
            # By force: kwok ends no pod whose node is gone already.
            cluster.kubectl("delete", "pods", "--all", "-n", name, "--timeout=20s", "--grace-period=0", "--force")
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def node(name: str, cpu: str, labels: Mapping[str, str] | None = None, *, memory: str = "64Gi", extended: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A node that kwok plays: allocatable as given, and ready as soon as kwok has seen it."""
    resources = {"cpu": cpu, "memory": memory, "pods": "110", **(extended or {})}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": resources, "capacity": resources},
    }


@contextlib.contextmanager
def own_nodes(cluster: Cluster, *nodes: Mapping[str, Any]) -> Iterator[None]:
    """Nodes for one test: ready, and gone afterwards."""
    names = [str(item["metadata"]["name"]) for item in nodes]
    apply(cluster, *nodes)
    try:
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=20s", *(f"node/{name}" for name in names))
        yield
    finally:
        cluster.kubectl("delete", "node", *names, "--ignore-not-found", "--timeout=20s")


def events_of(cluster: Cluster, namespace: str, name: str) -> Sequence[dict[str, Any]]:
    """The events about an object, oldest first."""
    items = cluster.get("events", "-n", namespace, f"--field-selector=involvedObject.name={name}")["items"]
    return sorted(items, key=lambda item: item["metadata"]["creationTimestamp"])


def condition_of(item: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition of that type in an object's status."""
    conditions = item.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), None)


def _exists(cluster: Cluster, what: str, namespace: str) -> bool:
    return bool(cluster.kubectl("get", what, "-n", namespace, "--ignore-not-found", "-o", "name").strip())

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

# How long a test waits at least for what must come true. On an idle machine nearly all of it comes within a second; on two cores that many processes share it
# may take a minute, and waiting costs nothing where it does not come to that. The longest single cause known: client-go's pause of half a minute after the API
# server was away, and the garbage collector's after a new API.
PATIENCE_S = 120.0
KUBECTL_PATIENCE = f"--timeout={PATIENCE_S:.0f}s"
# Of a kubectl that waits for so long itself.
_LONG_S = PATIENCE_S + 30

# Between two looks. Short, because most waits here are for something that takes some hundred milliseconds; kubectl itself takes about 80.
_POLL_S = 0.05

_serial = itertools.count(1)


def wait_until(predicate: Callable[[], Found | None], timeout_s: float, message: str | Callable[[], str]) -> Found:
    """Looks again and again until the predicate answers something true, and answers that.

    Args:
        predicate: looks.
        timeout_s: how long it may take by design; at least `PATIENCE_S` are waited, for the machine may be busy.
        message: what is waited for.

    Raises:
        AssertionError: it did not in time; with the message, and with what the last look saw.
    """
    timeout_s = max(timeout_s, PATIENCE_S)
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
        empty_namespace(cluster, name)


def empty_namespace(cluster: Cluster, name: str) -> None:
    """Pods and services first and waited for, so that the next test finds no tenant of ours; the namespace itself may take its time."""
    try:
        if cluster.running("kube-controller-manager"):
            with contextlib.suppress(CommandFailed):  # no such resource: the test has not installed the CRD
                cluster.kubectl("delete", "inferenceservices.stowplan.dev", "--all", "-n", name, KUBECTL_PATIENCE, timeout_s=_LONG_S)
            cluster.kubectl("delete", "deployments,replicasets", "--all", "-n", name, KUBECTL_PATIENCE, timeout_s=_LONG_S)
            # By force: kwok ends no pod whose node is gone already.
            cluster.kubectl("delete", "pods", "--all", "-n", name, KUBECTL_PATIENCE, "--grace-period=0", "--force", timeout_s=_LONG_S)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def node(name: str, cpu: str, labels: Mapping[str, str] | None = None, *, memory: str = "64Gi", extended: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A node that kwok plays: allocatable as given, and ready as soon as kwok has seen it."""
    resources = {"cpu": cpu, "memory": memory, "pods": "110", **(extended or {})}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": resources, "capacity": resources},
    }


def plain_pod(name: str, scheduler: str, cpu: str) -> dict[str, Any]:
    """A pod that did not ask for us: it has no marker."""
    container = {"name": "it", "image": "example.com/it", "resources": {"requests": {"cpu": cpu}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"schedulerName": scheduler, "containers": [container]}}


@contextlib.contextmanager
def own_nodes(cluster: Cluster, *nodes: Mapping[str, Any]) -> Iterator[None]:
    """Nodes for one test: ready, and gone afterwards."""
    names = [str(item["metadata"]["name"]) for item in nodes]
    apply(cluster, *nodes)
    try:
        await_nodes(cluster, names)
        yield
    finally:
        remove_nodes(cluster, names)


def await_nodes(cluster: Cluster, names: Sequence[str]) -> None:
    """Waits until nodes are ready."""
    cluster.kubectl("wait", "--for=condition=Ready", KUBECTL_PATIENCE, *(f"node/{name}" for name in names), timeout_s=_LONG_S)


def remove_nodes(cluster: Cluster, names: Sequence[str]) -> None:
    """Deletes nodes, and waits until they are gone."""
    cluster.kubectl("delete", "node", *names, "--ignore-not-found", KUBECTL_PATIENCE, timeout_s=_LONG_S)


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

"""What fault tests have in common: pods of a service made by hand, processes that are started again as they were, and the names of a fault."""

import contextlib
import json
import os
import signal
import ssl
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from controlplane_clusters import ADMIN, Cluster
from stowplan_fleet import keys
from support.components import Extender
from support.controlplane import events_of, wait_until
from support.stages import Stage

QUICK_CORE = "made-up-quick/cpu:1"
CROWDED = "is too slow beside the tenants there"
"""What the scheduler's event says where a node holds as many as it may."""
QUICK = {keys.DEVICE_LABEL: "made-up-quick"}


def by_hand(name: str, service: str, slice_class: str = QUICK_CORE, **spec: Any) -> dict[str, Any]:
    """A pod of a service as its Deployment would make it; so a test says when there is one more, and how many."""
    resources = {"cpu": slice_class.rpartition(":")[2], keys.MARKER_RESOURCE: keys.MARKER_AMOUNT}
    container = {"name": "server", "image": "example.com/server", "resources": {"requests": resources, "limits": resources}}
    metadata = {"name": name, "labels": {keys.SERVICE_LABEL: service}, "annotations": {keys.SLICE_CLASS_ANNOTATION: slice_class}}
    full = {"schedulerName": keys.SCHEDULER_NAME, "terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": full}


def plain_pod(name: str, cpu: str, **spec: Any) -> dict[str, Any]:
    """Somebody else's pod, for the default scheduler unless it names a node."""
    container = {"name": "it", "image": "example.com/it", "resources": {"requests": {"cpu": cpu}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}}


def create_pod(cluster: Cluster, namespace: str, pod: dict[str, Any]) -> None:
    """Makes a pod by one request: kubectl would take a tenth of a second, and ten times that on a busy machine."""
    headers = {"Authorization": f"Bearer {cluster.tokens[ADMIN]}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{cluster.url}/api/v1/namespaces/{namespace}/pods", json.dumps(pod).encode(), headers)  # noqa: S310 -- our own https URL
    with urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=cluster.ca_file)) as answer:  # noqa: S310
        assert answer.status == HTTPStatus.CREATED


def node_of(stage: Stage, name: str) -> str:
    """Where a pod is bound; empty while it is not."""
    return next((str(pod["spec"].get("nodeName", "")) for pod in stage.pods() if pod["metadata"]["name"] == name), "")


def await_node(stage: Stage, name: str, timeout_s: float = 0) -> str:
    """Waits until a pod is bound; answers where."""
    return wait_until(lambda: node_of(stage, name), timeout_s, lambda: f"pod {name} bound; {stage.tell('none')}")


def await_event(stage: Stage, name: str, said: str) -> None:
    """Waits until an event about one pod holds a text."""

    def is_said() -> bool:
        return any(said in event.get("message", "") for event in events_of(stage.cluster, stage.namespace, name))

    wait_until(is_said, 0, lambda: f"an event that says {said!r} about pod {name}; {stage.tell('none')}")


def await_named(extender: Extender, log: str, metric: str, timeout_s: float = 0, **labels: str) -> None:
    """Waits until a log line and a metric of the extender name what happened since the test began."""
    wait_until(lambda: extender.logged(log), timeout_s, f"a log line that says {log!r}")
    wait_until(lambda: extender.risen(metric, **labels) > 0, timeout_s, f"metric {metric}{labels} risen")


def again(cluster: Cluster, name: str) -> None:
    """Kills a process, and starts it once more with the command and environment it had."""
    cluster.stop(name, kill=True)
    cluster.start_again(name)


@contextlib.contextmanager
def absent(cluster: Cluster, name: str) -> Iterator[None]:
    """Kills a process, and starts it again as it was afterwards; whether it is ready then, the next test looks for itself (`support.crews`)."""
    cluster.stop(name, kill=True)
    try:
        yield
    finally:
        cluster.start_again(name)


@contextlib.contextmanager
def stopped(cluster: Cluster, name: str) -> Iterator[None]:
    """A process that hangs: it is there, takes connections, and does nothing."""
    os.killpg(cluster.processes[name], signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(cluster.processes[name], signal.SIGCONT)


def shiftable_clock(folder: Path) -> str:
    """A PYTHONPATH with which the wall clock of a Python process jumps by as many seconds as the file `jump` in that folder says at the moment.

    Not for gRPC: it makes deadlines of this clock in Python and holds them against the machine's, which would be a machine of two clocks.
    """
    (folder / "sitecustomize.py").write_text(_SITE.format(file=str(folder / "jump")))
    return str(folder)


_SITE = """
import pathlib, sys, time
_file, _time, _ns = pathlib.Path({file!r}), time.time, time.time_ns
def _jump():
    if sys._getframe(2).f_globals.get("__name__", "").partition(".")[0] == "grpc":
        return 0.0
    try:
        return float(_file.read_text() or 0)
    except OSError:
        return 0.0
def _shifted():
    return _time() + _jump()
def _shifted_ns():
    return _ns() + int(_jump() * 1e9)
time.time, time.time_ns = _shifted, _shifted_ns
"""

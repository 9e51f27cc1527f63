"""Headcounts: how much of a service serves, at each change that the API server tells. A look now and then would miss what lasts for a moment."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from controlplane_clusters import ADMIN
from stowplan_fleet import keys
from support.stages import Stage

Weigh = Callable[[Mapping[str, Any]], int]


def one(_: Mapping[str, Any]) -> int:
    """A pod is a pod."""
    return 1


def cores(pod: Mapping[str, Any]) -> int:
    """Cores of a pod's slice."""
    return int(pod["metadata"]["annotations"][keys.SLICE_CLASS_ANNOTATION].rpartition(":")[2])


class Headcount:
    """The pods that serve."""

    def __init__(self, weigh: Weigh, pods: list[Mapping[str, Any]]) -> None:
        self._weigh = weigh
        self._serving = {pod["metadata"]["uid"]: weigh(pod) for pod in pods if _serves(pod)}
        self.least = sum(self._serving.values())
        """The smallest sum there was."""

    def see(self, kind: str, pod: Mapping[str, Any]) -> None:
        """Takes an event of the watch."""
        if kind != "DELETED" and _serves(pod):
            self._serving[pod["metadata"]["uid"]] = self._weigh(pod)
        else:
            self._serving.pop(pod["metadata"]["uid"], None)
        self.least = min(self.least, sum(self._serving.values()))


def _serves(pod: Mapping[str, Any]) -> bool:
    """Ready, and not told to end: an endpoint of a Service."""
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", []))
    return ready and not pod["metadata"].get("deletionTimestamp")


@contextlib.contextmanager
def counted(stage: Stage, service: str, weigh: Weigh = one) -> Iterator[Headcount]:
    """Counts a service's pods that serve while inside.

    Raises:
        AssertionError: the watch broke off, so that something may have been missed.
    """
    cluster, path = stage.cluster, f"/api/v1/namespaces/{stage.namespace}/pods?labelSelector={keys.SERVICE_LABEL}%3D{quote(service)}"
    listed = json.loads(cluster.kubectl("get", "--raw", path))
    count = Headcount(weigh, listed["items"])
    host, _, port = cluster.url.removeprefix("https://").rpartition(":")
    connection = http.client.HTTPSConnection(host, int(port), context=ssl.create_default_context(cafile=cluster.ca_file))
    headers = {"Authorization": f"Bearer {cluster.tokens[ADMIN]}"}
    connection.request("GET", f"{path}&watch=true&resourceVersion={listed['metadata']['resourceVersion']}", headers=headers)
    answer, line, ending = connection.getresponse(), connection.sock, threading.Event()
    broken: list[str] = []

    def follow() -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):  # ValueError: half a line
            for event in answer:
                told = json.loads(event)
                if told["type"] == "ERROR":
                    broken.append(str(told["object"]))
                else:
                    count.see(told["type"], told["object"])
        if not ending.is_set():
            broken.append("the watch ended")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        ending.set()
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        thread.join()
        answer.close()
        connection.close()
    assert broken == []

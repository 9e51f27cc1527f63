"""The crew of a cluster that many tests share: before each test all of it is there and sound, and after each test our view is what the cluster is.

Fault tests kill, stop and replace these processes. They put everything back; should one of them fail half-way, the next test must not pay for it.
Whatever has to be put right here is remembered, and told at the end of the run: it is something that a test left behind.
"""

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from controlplane_clusters import Cluster
from stowplan_fleet import keys
from support import api_definitions
from support.components import Extender
from support.controlplane import PATIENCE_S, empty_namespace, remove_nodes, wait_until
from support.weathers import Weather

Ready = Callable[[], bool]


@dataclass(slots=True)
class Crew:
    """Who has to be there."""

    cluster: Cluster
    ready: Mapping[str, Ready]
    """The processes by name, each with how it says that it is ready; in the order they need each other."""
    weather: Weather | None = None
    prefix: str = "e2e"
    """Of the namespaces of these tests."""
    nodes: list[str] = field(default_factory=list)
    """Of a test that could not clear its stage."""
    mended: list[str] = field(default_factory=list)
    """What had to be put right, in words."""
    _dismissed: set[str] = field(default_factory=set)
    _how: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = field(default_factory=dict)

    def muster(self) -> None:
        """Good weather; everybody there, as first started, and ready; nobody else; no tenant of a former test.

        Raises:
            StartFailed: somebody does not come back.
        """
        if self.weather is not None and self.weather.is_bad():
            self.weather.clear()
            self._note("the weather was bad")
        for name in self.ready:
            self._how.setdefault(name, self.cluster.commands[name])
        for name in [name for name in self.cluster.processes if name not in self._how]:
            self.cluster.stop(name, kill=True)
            self._note(f"{name} was left over")
        for name, ready in self.ready.items():
            self._bring(name, ready)
        self._clear()

    def dismiss(self, names: Iterable[str]) -> None:
        """Ends some of them; the next muster calls them back, and that is nothing to be told."""
        for name in names:
            self.cluster.stop(name, kill=True)
            self._dismissed.add(name)

    def _note(self, what: str) -> None:
        self.mended.append(f"before {os.environ.get('PYTEST_CURRENT_TEST', 'a test')}: {what}")

    def _bring(self, name: str, ready: Ready) -> None:
        as_first = self.cluster.commands[name] == self._how[name]
        if self.cluster.running(name) and as_first:
            # Should it still be stopped: it takes connections then, and answers nothing.
            os.killpg(self.cluster.processes[name], signal.SIGCONT)
        else:
            self.cluster.stop(name, kill=True)
            command, environment = self._how[name]
            self.cluster.start(name, command, environment)
            if name not in self._dismissed:
                self._note(f"{name} {'did not run' if as_first else 'ran otherwise'}")
            self._dismissed.discard(name)
        self.cluster.await_ready(name, ready, PATIENCE_S)

    def _clear(self) -> None:
        if not self.cluster.answers(f"/apis/{keys.GROUP}/{keys.VERSION}"):
            api_definitions.serve(self.cluster)
            self._note("our API was not served")
        spaces = self.cluster.kubectl("get", "namespaces", "-o", "jsonpath={range .items[?(@.status.phase=='Active')]}{.metadata.name}{'\\n'}{end}")
        for name in [name for name in spaces.split() if name.startswith(f"{self.prefix}-")]:
            empty_namespace(self.cluster, name)
            self._note(f"namespace {name} was left over")
        if self.nodes:
            remove_nodes(self.cluster, self.nodes)
            self._note(f"nodes {', '.join(self.nodes)} were left over")
            self.nodes.clear()


def await_view(cluster: Cluster, extender: Extender) -> None:
    """Waits until an extender sees as many nodes, pods and services as there are, and promises nothing: whatever happened, it came back by itself.

    Raises:
        AssertionError: it still sees something else.
    """
    wait_until(lambda: _seen(extender) == _there(cluster), 0, lambda: f"the extender's view is {_seen(extender)}, the cluster {_there(cluster)}")


def _seen(extender: Extender) -> dict[str, float]:
    return {kind: extender.metric("stowplan_extender_view_objects", kind=kind) for kind in ("nodes", "pods", "services", "reservations")}


def _there(cluster: Cluster) -> dict[str, float]:
    pods = [item for item in cluster.get("pods", "-A")["items"] if item["status"].get("phase") not in {"Succeeded", "Failed"}]
    ours = [item for item in pods if item["spec"].get("nodeName") or item["spec"].get("schedulerName") == keys.SCHEDULER_NAME]
    services = cluster.get(f"{keys.PLURAL}.{keys.GROUP}", "-A")["items"]
    return {"nodes": len(cluster.get("nodes")["items"]), "pods": len(ours), "services": len(services), "reservations": 0}

"""Upkeep: looks after promises that the watch does not confirm.

Usually the watch shows a binding within milliseconds. Where it does not, either the binding was never carried out, or the watch is silent: half open,
stuck behind something, or an event was swallowed. The pod itself tells which. A watch that is behind is begun anew with a list, so that it is noticed
by what it fails to show, seconds after it fell silent.
"""

import asyncio
import logging
from collections.abc import Callable

from stowplan_fleet.errors import FleetError
from stowplan_fleet.manifests import pods
from stowplan_fleet.manifests.pods import PodManifest

from stowplan_extender.apiserver.podcalls import PodCalls
from stowplan_extender.cluster.reservations import Overdue
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.errors import ApiError, ApiRefused
from stowplan_extender.metrics import Metrics

_log = logging.getLogger(__name__)
_NOT_FOUND = 404


class Upkeep:
    """Looks up overdue promises."""

    def __init__(self, view: ClusterView, calls: PodCalls, confirm_s: float, renew: Callable[[], None], metrics: Metrics) -> None:
        """`confirm_s`: how long the watch may take to show a binding; `renew` begins the watch on pods anew."""
        self._view = view
        self._calls = calls
        self._confirm_s = confirm_s
        self._renew = renew
        self._metrics = metrics

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.sleep(self._confirm_s)
            await self.look()

    async def look(self) -> None:
        """Asks the API server once about each overdue promise."""
        behind: list[str] = []
        for overdue in self._view.reservations.overdue(self._confirm_s):
            record = self._view.pod(overdue.uid)
            if record is not None and record.node is not None:
                # The watch was faster than whoever promised.
                self._view.reservations.release(overdue.uid)
                continue
            found = await self._find(overdue)
            self._metrics.overdue_promises.labels(found).inc()
            if found == "bound" and overdue.node in self._view.reservations.nodes_of(overdue.uid):
                behind.append(overdue.name)
        if behind:
            _log.warning("the watch on pods does not show our bindings; it is begun anew", extra={"pods": behind[:8], "count": len(behind)})
            self._renew()

    async def _find(self, overdue: Overdue) -> str:
        """What became of the pod: `bound` there, `elsewhere`, `gone`, not bound yet (`waiting`), or nobody says (`unknown`)."""
        namespace, _, name = overdue.name.partition("/")
        pod: PodManifest | None
        try:
            pod = await self._calls.get(namespace, name)
        except ApiRefused as error:
            if error.status != _NOT_FOUND:
                return "unknown"
            pod = None
        except (ApiError, FleetError):
            return "unknown"
        if pod is None or pod.metadata.uid != overdue.uid or pods.is_finished(pod):
            self._view.reservations.release(overdue.uid)
            return "gone"
        if not pod.spec.node_name:
            # The request may still be on its way: the promise ends with its time.
            return "waiting"
        if pod.spec.node_name != overdue.node:
            self._view.reservations.release(overdue.uid, overdue.node)
            return "elsewhere"
        self._view.reservations.written(overdue.uid, overdue.node)
        return "bound"

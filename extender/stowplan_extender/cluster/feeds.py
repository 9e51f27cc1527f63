"""Feeds: the four collections that make up the cluster view, and whether it may be decided on."""

import asyncio
from collections.abc import Callable

from stowplan_fleet import keys
from stowplan_fleet.slices import DeviceName

from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.apiserver.reflectors import Reflector, Store
from stowplan_extender.cluster.stores import DeviceStore, NodeStore, PodStore, ServiceStore
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.errors import ViewNotReady
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import ApiSettings


class Feeds:
    """Keeps the view like the cluster."""

    def __init__(
        self,
        view: ClusterView,
        *,
        connection: ApiConnection,
        settings: ApiSettings,
        metrics: Metrics,
        clock: Callable[[], float],
        device_changed: Callable[[DeviceName], None],
    ) -> None:
        """Starts nothing yet; `clock` counts monotonic seconds."""
        self._settings = settings
        self._metrics = metrics

        def reflector(store: Store, name: str, path: str, selectors: dict[str, str] | None = None) -> Reflector:
            return Reflector(name, path, store, connection=connection, settings=settings, metrics=metrics, clock=clock, selectors=selectors)

        space = f"/namespaces/{settings.descriptors_namespace}" if settings.descriptors_namespace else ""
        self._reflectors = (
            reflector(NodeStore(view, metrics), "nodes", "/api/v1/nodes"),
            # One watch for bound and pending pods alike, so that a pod never seems gone while it moves from one to the other.
            reflector(PodStore(view, metrics), "pods", "/api/v1/pods", {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}),
            reflector(ServiceStore(view, metrics), "inferenceservices", f"/apis/{keys.GROUP}/{keys.VERSION}/{keys.PLURAL}"),
            reflector(
                DeviceStore(view, metrics, device_changed), "configmaps", f"/api/v1{space}/configmaps", {"labelSelector": f"{keys.DESCRIPTORS_LABEL}=true"}
            ),
        )

    async def run(self) -> None:
        """Mirrors until cancelled; an error that nobody foresaw ends all of it, and with it the process."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run(), name=f"reflect {reflector.name}")

    def renew_pods(self) -> None:
        """Begins the watch on pods anew: it does not show what is known to have happened."""
        for reflector in self._reflectors:
            if reflector.name == "pods":
                reflector.renew()

    async def synced(self) -> None:
        """Returns once every collection was listed."""
        await asyncio.gather(*(reflector.synced.wait() for reflector in self._reflectors))

    def check(self) -> None:
        """Raises where the view must not be decided on.

        Raises:
            ViewNotReady: a collection was never listed, or its watch has been broken for too long.
        """
        for reflector in self._reflectors:
            if not reflector.synced.is_set():
                raise ViewNotReady(f"the extender has not listed {reflector.name} yet")
            if reflector.staleness_s > self._settings.stale_after_s:
                raise ViewNotReady(f"the extender lost touch with the API server: its view of {reflector.name} is too old")

    def measure(self) -> None:
        """Brings the gauges up to date."""
        for reflector in self._reflectors:
            self._metrics.view_staleness_seconds.labels(reflector.name).set(reflector.staleness_s)
            self._metrics.view_synced.labels(reflector.name).set(reflector.synced.is_set())

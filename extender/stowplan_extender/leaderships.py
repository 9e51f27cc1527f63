"""Leadership: only the extender beside the scheduler that holds the Lease may bind.

This reads whom the Lease names, not whether its time is over: a holder that lost touch stops scheduling by itself (client-go, leaderelection),
and until another takes the Lease nobody else binds. Between two looks at most `cache_s` pass, so two extenders may bind for that long after a
change; the API server lets only one binding of a pod succeed either way.
"""

from collections.abc import Callable
from typing import Protocol

from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.decoding import Manifest

from stowplan_extender.connections import ApiConnection
from stowplan_extender.errors import ApiError, NotLeading
from stowplan_extender.settings import LeaseSettings


class LeaseSpec(Manifest, frozen=True):
    """The part of a Lease that is read."""

    holder_identity: str | None = None


class LeaseManifest(Manifest, frozen=True):
    """A Lease."""

    spec: LeaseSpec = LeaseSpec()


class Leadership(Protocol):
    """Says whether this process may bind."""

    async def check(self) -> None:
        """Raises NotLeading where it may not."""


class AlwaysLeading:
    """There is no leader election."""

    async def check(self) -> None:
        """Always may."""


class LeaseLeadership:
    """Asks the scheduler's Lease."""

    def __init__(self, connection: ApiConnection, settings: LeaseSettings, timeout_s: float, clock: Callable[[], float]) -> None:
        """`clock` counts monotonic seconds."""
        self._connection = connection
        self._settings = settings
        self._timeout_s = timeout_s
        self._clock = clock
        self._holder: str | None = None
        self._read_at_s: float | None = None

    async def check(self) -> None:
        """Looks at the Lease, at most once every `cache_s`.

        Raises:
            NotLeading: it names another pod, or it cannot be read.
        """
        if self._read_at_s is None or self._clock() - self._read_at_s >= self._settings.cache_s:
            self._holder = await self._read()
            self._read_at_s = self._clock()
        # client-go's identity of kube-scheduler is `<hostname>_<uuid>`; a pod's hostname is its name (cmd/kube-scheduler/app/options).
        if self._holder is None or self._holder.rpartition("_")[0] != self._settings.pod_name:
            raise NotLeading(f"the scheduler's Lease names {self._holder or 'nobody'}, not {self._settings.pod_name}: that one binds")

    async def _read(self) -> str | None:
        settings = self._settings
        path = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases/{settings.name}"
        self._read_at_s = None
        try:
            body = await self._connection.request("GET", path, timeout_s=self._timeout_s)
            return decoding.from_json(body, LeaseManifest, f"Lease {settings.namespace}/{settings.name}").spec.holder_identity or None
        except (ApiError, ManifestRefused) as error:
            raise NotLeading(f"the scheduler's Lease {settings.namespace}/{settings.name} cannot be read: {error}") from error

"""Leadership: only the extender beside the scheduler that holds the Lease may bind.

This reads whom the Lease names, not whether its time is over: a holder that lost touch stops scheduling by itself (client-go, leaderelection),
and until another takes the Lease nobody else binds. What counts is when a look began: no takeover is older than that, even where this process stood
still since. A binding is sent only while the last look began a moment ago (`confirm`: `fresh_s`, or as long as the look itself takes, at most a
request's timeout), and nothing is awaited between the two. So the requests of a former holder have ended, carried out or given up on, within two such
timeouts of the takeover. Whoever takes over, and whoever was only just started, binds nothing for longer than that (`takeover_s`), and by then the watch has
shown them.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.decoding import Manifest

from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.binding.successions import LeaseSpec, Succession, pod_of
from stowplan_extender.errors import ApiError, NotLeading
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import LeaseSettings

_log = logging.getLogger(__name__)


class LeaseManifest(Manifest, frozen=True):
    """A Lease."""

    spec: LeaseSpec = LeaseSpec()


class Leadership(Protocol):
    """Says whether this process may bind."""

    async def check(self) -> None:
        """Raises NotLeading where it may not, as far as a recent look tells."""

    async def confirm(self) -> None:
        """The same from a look that began just now."""

    async def follow(self) -> None:
        """Looks from time to time, until cancelled."""


class AlwaysLeading:
    """There is no leader election."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        if metrics is not None:
            metrics.leading.set(1)

    async def check(self) -> None:
        """Always may."""

    async def confirm(self) -> None:
        """Always may."""

    async def follow(self) -> None:
        """There is nothing to look at."""


class LeaseLeadership:
    """Asks the scheduler's Lease."""

    def __init__(self, connection: ApiConnection, settings: LeaseSettings, timeout_s: float, clock: Callable[[], float], metrics: Metrics) -> None:
        """`clock` counts monotonic seconds."""
        self._connection = connection
        self._settings = settings
        self._timeout_s = timeout_s
        self._clock = clock
        self._metrics = metrics
        self._succession = Succession(metrics)
        self._turn = asyncio.Lock()
        self._ended = 0
        """Looks so far."""
        self._begun_at_s: float | None = None
        """When the last look that succeeded began."""
        self._holder: str | None = None
        self._problem = ""
        self._read_at_s: float | None = None
        self._free_at_s: float | None = None
        """From when on we may bind; None while another leads."""

    async def check(self) -> None:
        """Looks at the Lease, at most once every `cache_s`.

        Raises:
            NotLeading: it names another pod, named one until a moment ago, or cannot be read.
        """
        if self._read_at_s is None or self._clock() - self._read_at_s >= self._settings.cache_s:
            await self.confirm()
        else:
            self._judge()

    async def confirm(self) -> None:
        """Looks at the Lease, unless a look began less than `fresh_s` ago; those who ask at the same time share a look.

        Raises:
            NotLeading: as `check`; or this process stood still since the look began.
        """
        if not self._began_within(self._settings.fresh_s):
            ended = self._ended
            async with self._turn:
                if self._ended == ended:
                    await self._look()
            if not self._problem and not self._began_within(self._timeout_s):
                raise NotLeading("what the scheduler's Lease said is too old: this process stood still, and another may lead since")
        self._judge()

    def _began_within(self, seconds: float) -> bool:
        return self._begun_at_s is not None and self._clock() - self._begun_at_s <= seconds

    async def follow(self) -> None:
        """Looks every `cache_s`, so that a takeover is noticed when it happens and not with the first binding after it."""
        while True:
            with suppress(NotLeading):
                await self.check()
            await asyncio.sleep(self._settings.cache_s)

    def _judge(self) -> None:
        settings = self._settings
        if self._problem:
            raise NotLeading(f"the scheduler's Lease {settings.namespace}/{settings.name} cannot be read: {self._problem}")
        if self._free_at_s is None:
            raise NotLeading(f"the scheduler's Lease names {self._holder or 'nobody'}, not {settings.pod_name}: that one binds")
        if self._clock() < self._free_at_s:
            raise NotLeading(f"{settings.pod_name} leads, or was started, only now: bindings of the Lease's former holder may still be under way")

    async def _look(self) -> None:
        settings = self._settings
        path = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases/{settings.name}"
        begun_at_s = self._clock()
        try:
            body = await self._connection.request("GET", path, timeout_s=self._timeout_s)
            spec = decoding.from_json(body, LeaseManifest, f"Lease {settings.namespace}/{settings.name}").spec
        except (ApiError, ManifestRefused) as error:
            # A Lease that cannot be read may name anybody by now; who led before need not wait again once it can be read and still names us.
            self._problem, self._read_at_s, self._begun_at_s = str(error), None, None
            self._metrics.leading.set(0)
            return
        finally:
            self._ended += 1
        self._problem, self._read_at_s, self._begun_at_s = "", self._clock(), begun_at_s
        self._note(spec)

    def _note(self, spec: LeaseSpec) -> None:
        self._succession.note(spec, self._clock())
        self._holder = spec.holder_identity or None
        leads = self._holder is not None and pod_of(self._holder) == self._settings.pod_name
        if leads and self._free_at_s is None:
            # Even of a Lease that never changed hands: our own former process may have sent a binding, and what it had promised went with it.
            self._free_at_s = self._clock() + self._settings.takeover_s
            _log.info("leading", extra={"holder": self._holder, "transitions": spec.lease_transitions})
        elif not leads and self._free_at_s is not None:
            self._free_at_s = None
            _log.warning("no longer leading", extra={"holder": self._holder or "nobody"})
        self._metrics.leading.set(leads)

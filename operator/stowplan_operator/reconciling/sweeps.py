"""Sweeps: finds objects that the views still show though they are gone.

A watch that was interrupted for longer than the API server remembers is listed anew, and kopf learns from a list what is there, but not what is not there any
more. So now and then the names that exist are asked for, metadata only, and what is in a view and not among them is taken out of it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from stowplan_fleet.services import ServiceName

from stowplan_operator.errors import ApiFailed
from stowplan_operator.reconciling.apis import Api
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.views import Kind, KopfViews

logger = logging.getLogger(__name__)
# An object that was deleted while the list was made is told by its watch within this time.
_SETTLE_S: Final = 5.0


class Sweeper:
    """Sweeps the views."""

    def __init__(
        self, views: KopfViews, api: Api, metrics: Metrics, *, add: Callable[[ServiceName], None], every_s: float, settle_s: float = _SETTLE_S
    ) -> None:
        """Prepares; `add` is called with services that are to be looked at."""
        self._views, self._api, self._metrics, self._add, self._every_s, self._settle_s = views, api, metrics, add, every_s, settle_s

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                for kind in Kind:
                    await self.sweep(kind)
            except ApiFailed as error:
                logger.warning("the views could not be compared with the API server; tried again later", extra={"error": str(error)})

    async def sweep(self, kind: Kind) -> None:
        """Sweeps one kind.

        Raises:
            ApiFailed: the API server did not tell.
        """
        shown = self._views.uids(kind)
        suspects = shown.keys() - await self._api.list_uids(kind)
        if not suspects:
            return
        await asyncio.sleep(self._settle_s)
        gone = suspects & self._views.uids(kind).keys()
        if not gone:
            return
        self._views.drop(kind, gone)
        self._metrics.missed_deletes.labels(str(kind)).inc(len(gone))
        logger.warning("objects were deleted and no watch told it; they are dropped", extra={"kind": str(kind), "count": len(gone)})
        concerned = {service for uid in gone if (service := shown[uid]) is not None}
        for service in concerned if kind.belongs_to_a_service else self._views.services():
            self._add(service)

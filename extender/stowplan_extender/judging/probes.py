"""The probe: looks every few seconds whether the predictor is there."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from stowplan_fleet.errors import MessageRefused, PredictorUnavailable

from stowplan_extender.metrics import Metrics

_log = logging.getLogger(__name__)


class PredictorProbe:
    """Knows whether the predictor answered last time, and whether it ever did."""

    def __init__(self, reach: Callable[[], Awaitable[object]], every_s: float, timeout_s: float, metrics: Metrics) -> None:
        """`reach` asks something cheap, which may take `timeout_s`."""
        self._reach = reach
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._metrics = metrics
        self.up = False
        self.reached = asyncio.Event()
        """Set once the predictor answered at all."""

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Looks once."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._reach()
        except MessageRefused:
            # An answer, if not the wanted one: somebody is there.
            up = True
        except (PredictorUnavailable, TimeoutError) as error:
            up = False
            if self.up or not self.reached.is_set():
                _log.warning("the predictor is not there", extra={"error": str(error) or f"no answer within {self._timeout_s:g} s"})
        else:
            up = True
        if up and not self.up:
            _log.info("the predictor is there")
            self.reached.set()
        self.up = up
        self._metrics.predictor_up.set(up)

"""Definitions: whether the API of InferenceServices is there at all.

Without its definition (somebody deleted it, or it was never installed) there is nothing to list, and a library that lists and watches is silent, or fails and
is started anew, by which of two watches ends first. So the API server is asked by itself now and then, and the answer is a metric and a line where it changes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prometheus_client import Gauge

from stowplan_operator.errors import ApiFailed

logger = logging.getLogger(__name__)


class Definitions:
    """Asks whether our API is served."""

    def __init__(self, served: Callable[[], Awaitable[bool]], gauge: Gauge, every_s: float) -> None:
        """`served` asks the API server; `gauge` tells the last answer, 1 or 0."""
        self._served, self._gauge, self._every_s = served, gauge, every_s
        self._was_served = True

    async def run(self) -> None:
        """Asks until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Asks once; who does not answer says nothing."""
        try:
            found = await self._served()
        except ApiFailed:
            return
        self._gauge.set(found)
        if found is not self._was_served:
            self._was_served = found
            if found:
                logger.info("the definition of InferenceServices is there again")
            else:
                logger.error("the definition of InferenceServices is gone; apply it again (charts/stowplan/files), nothing is looked after until then")

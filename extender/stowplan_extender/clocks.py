"""Clocks: notices when the machine's wall clock jumps. Nothing here goes by it (all times are monotonic), but logs, Leases and certificates do."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

_log = logging.getLogger(__name__)
_EVERY_S: Final = 2.0
# A time service slews smaller errors instead of jumping (chrony's and systemd-timesyncd's defaults lie below a second).
_JUMP_S: Final = 5.0


class ClockWatch:
    """Compares the wall clock with a steady one."""

    def __init__(self, jumps: Counter, wall: Callable[[], float] | None = None, steady: Callable[[], float] = time.monotonic) -> None:
        """`jumps` counts them; `wall` and `steady` count seconds."""
        self._jumps, self._wall, self._steady = jumps, wall or time.time, steady
        self._apart_s = self._wall() - self._steady()

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            self.look()

    def look(self) -> None:
        """Looks once."""
        apart_s = self._wall() - self._steady()
        ahead_s, self._apart_s = apart_s - self._apart_s, apart_s
        if abs(ahead_s) > _JUMP_S:
            self._jumps.inc()
            _log.warning("the wall clock jumped; nothing here goes by it", extra={"seconds": round(ahead_s, 1)})

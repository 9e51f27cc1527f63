"""Backlogs: bindings under way, and why a filter waits for them.

kube-scheduler filters one pod after the other, but any number of its bindings are under way at once. A filter that is faster than the API server takes
bindings fills a queue there, until requests run into their time limits, the Lease cannot be read in time, and most of the work is done twice. The filter is
what the scheduler waits for, so it waits a little where many bindings are under way: no binding comes later for it, and none is given up on.
"""

import asyncio
from types import TracebackType

from stowplan_extender.metrics import Metrics


class Backlog:
    """Counts bindings: `with backlog:` around each."""

    def __init__(self, limit: int, patience_s: float, metrics: Metrics) -> None:
        """`limit`: so many at once before a filter waits, 0 for any number; `patience_s`: how long it waits at most."""
        self._limit = limit
        self._patience_s = patience_s
        self._metrics = metrics
        self._count = 0
        self._room = asyncio.Event()
        self._room.set()

    def __enter__(self) -> None:
        """A binding begins."""
        self._change(1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """It came to its end, whichever."""
        self._change(-1)

    async def room(self) -> None:
        """Returns once fewer than the limit are under way, or patience is over."""
        if not self._room.is_set():
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._room.wait()
            except TimeoutError:
                return

    def _change(self, by: int) -> None:
        self._count += by
        self._metrics.bindings_under_way.set(self._count)
        if not self._limit or self._count < self._limit:
            self._room.set()
        else:
            self._room.clear()

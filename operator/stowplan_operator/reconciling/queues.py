"""Queues: whom to look at next. As in client-go's workqueue: a key is handled by one worker at a time, and keys added meanwhile are handled once more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)
Key = TypeVar("Key")

# Handles a key; answers after how many seconds to look again, or None for "as soon as the back-off allows".
Handle = Callable[[Key], Awaitable[float | None]]
# Doublings after which the back-off is at its end for any sane settings; keeps 2**n small.
_DOUBLINGS_MAX = 32


class WorkQueue(Generic[Key]):
    """Keys, each waiting, in work, or due later."""

    def __init__(self, handle: Handle[Key], backoff_s: float, backoff_max_s: float) -> None:
        """Makes an empty queue.

        Args:
            handle: looks after one key; an exception counts as a failure and is logged.
            backoff_s: pause after the first failure of a key; doubles with each further one.
            backoff_max_s: longest pause.
        """
        self._handle = handle
        self._backoff_s, self._backoff_max_s = backoff_s, backoff_max_s
        self._waiting: dict[Key, None] = {}  # ordered, each once
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Keys in work."""
        return len(self._active)

    def add(self, key: Key) -> None:
        """Look at it now."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._wakeup.set()

    def forget(self, key: Key) -> None:
        """Never look at it again unless it is added; its failures are forgotten."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def run(self, workers: int) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(), name=f"worker {number}")

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._wakeup.clear()
                await self._wakeup.wait()
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._active.add(key)
            try:
                delay_s = await self._handle(key)
            except Exception:
                logger.exception("a service could not be looked after; it is tried again", extra={"key": str(key)})
                delay_s = None
            finally:
                self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._count(key, failed=delay_s is None)
                self.add(key)
            else:
                self._later(key, delay_s)

    def _count(self, key: Key, *, failed: bool) -> int:
        if not failed:
            self._failures.pop(key, None)
            return 0
        self._failures[key] = min(self._failures.get(key, 0) + 1, _DOUBLINGS_MAX)
        return self._failures[key]

    def _later(self, key: Key, delay_s: float | None) -> None:
        failures = self._count(key, failed=delay_s is None)
        if delay_s is None:
            delay_s = min(self._backoff_max_s, self._backoff_s * 2 ** (failures - 1))
        if delay_s == float("inf"):
            return
        self._timers[key] = asyncio.get_running_loop().call_later(delay_s, self.add, key)

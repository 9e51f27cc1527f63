"""A pool of threads with a bounded queue: what does not fit is refused at once instead of waiting beyond anyone's patience."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from stowplan_predictor.errors import PredictorError

T = TypeVar("T")


class PoolFull(PredictorError):
    """As much waits as may. Asking later helps."""


class DeadlinePassed(PredictorError):
    """Whoever asked has gone before the work began."""


class BoundedPool:
    """Runs work in threads for coroutines."""

    def __init__(self, name: str, threads: int, queue: int, max_bytes: int | None = None) -> None:
        """Makes the pool.

        Args:
            name: of its threads.
            threads: pieces of work at a time.
            queue: pieces that may wait.
            max_bytes: that all accepted pieces may hold together; None for no bound. One that comes alone is accepted whatever it holds.
        """
        self._name = name
        self._threads = threads
        self._capacity = threads + queue
        self._max_bytes = max_bytes
        self._bytes = 0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._accepted = 0

    @property
    def accepted(self) -> int:
        """Pieces of work begun or waiting."""
        with self._lock:
            return self._accepted

    @property
    def held_bytes(self) -> int:
        """What the accepted pieces hold."""
        with self._lock:
            return self._bytes

    @property
    def waiting(self) -> int:
        """Pieces of work accepted and not begun."""
        return max(0, self.accepted - self._threads)

    async def run(self, work: Callable[[], T], timeout_s: float | None = None, holds_bytes: int = 0) -> T:
        """Does the work in a thread.

        Args:
            work: what to do.
            timeout_s: how long somebody waits for it.
            holds_bytes: memory that the piece holds from now until it ends.

        Work that nobody waits for any more is dropped before it begins; once begun it runs to its end, and its place stays taken until then.

        Raises:
            PoolFull: nothing more is accepted.
            DeadlinePassed: its turn came after `timeout_s`.
        """
        with self._lock:
            if self._accepted >= self._capacity:
                raise PoolFull(f"{self._capacity} calls of this kind are under way or waiting; ask later")
            if self._max_bytes is not None and self._accepted and self._bytes + holds_bytes > self._max_bytes:
                raise PoolFull(f"calls of this kind that are under way or waiting hold {self._bytes} bytes; with this one they would hold too much; ask later")
            self._accepted += 1
            self._bytes += holds_bytes
        deadline = None if timeout_s is None else time.monotonic() + timeout_s

        def begin() -> T:
            if deadline is not None and time.monotonic() > deadline:
                raise DeadlinePassed(f"waited longer than the {timeout_s:.3f} s the caller gave")
            return work()

        try:
            future = self._executor.submit(begin)
        except RuntimeError as error:
            self._leave(holds_bytes)
            raise PoolFull("this process is about to end; ask another") from error
        future.add_done_callback(lambda _: self._leave(holds_bytes))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Accepts nothing more, and drops what has not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _leave(self, held_bytes: int) -> None:
        with self._lock:
            self._accepted -= 1
            self._bytes -= held_bytes

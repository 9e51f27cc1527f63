"""The work queue, in virtual time."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from stowplan_operator.reconciling.queues import Handle, WorkQueue

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def running(handle: Handle[str], workers: int = 2) -> AsyncIterator[WorkQueue[str]]:
    queue = WorkQueue(handle, backoff_s=1, backoff_max_s=60)
    task = asyncio.create_task(queue.run(workers))
    yield queue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_is_never_in_two_hands() -> None:
    """Keys added while they are in work are handled once more afterwards, once, and never at the same time."""
    inside, most, looks = 0, 0, 0

    async def handle(_: str) -> float | None:
        nonlocal inside, most, looks
        inside, looks = inside + 1, looks + 1
        most = max(most, inside)
        await asyncio.sleep(5)
        inside -= 1
        return float("inf")

    async with running(handle) as queue:
        queue.add("a")
        await asyncio.sleep(1)
        for _ in range(10):
            queue.add("a")
        await asyncio.sleep(100)

    assert (most, looks) == (1, 2)


async def test_failures_back_off_and_success_resets() -> None:
    """Pauses double from one second up to the bound, an exception counts as a failure, and after a success the first pause is short again."""
    times: list[float] = []
    outcomes: list[float | Exception | None] = [None, OSError("once"), None, 100.0, None, float("inf")]

    async def handle(_: str) -> float | None:
        times.append(asyncio.get_running_loop().time())
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async with running(handle) as queue:
        queue.add("a")
        await asyncio.sleep(1000)

    assert [round(later - earlier, 3) for earlier, later in itertools.pairwise(times)] == [1, 2, 4, 100, 1]


async def test_one_slow_key_does_not_hold_up_others() -> None:
    """While one key takes an hour, another one is handled at once."""
    handled: list[str] = []

    async def handle(key: str) -> float | None:
        await asyncio.sleep(3600 if key == "slow" else 0)
        handled.append(key)
        return float("inf")

    async with running(handle) as queue:
        queue.add("slow")
        queue.add("quick")
        await asyncio.sleep(1)

    assert handled == ["quick"]

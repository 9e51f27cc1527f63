"""A filter waits while many bindings are under way, and not for ever."""

import asyncio

import pytest
from stowplan_extender.binding.backlogs import Backlog
from stowplan_extender.metrics import Metrics


@pytest.mark.looptime
async def test_a_filter_waits_for_bindings_to_end() -> None:
    """Below the limit it goes on at once; at the limit when one of them has ended, failed ones too."""
    metrics = Metrics()
    backlog = Backlog(2, 100.0, metrics)
    ends = [asyncio.Event() for _ in range(2)]

    async def bind(end: asyncio.Event) -> None:
        with backlog:
            await end.wait()
            raise OSError("made by a test")

    await backlog.room()
    first = asyncio.create_task(bind(ends[0]))
    await asyncio.sleep(0)
    await backlog.room()
    second = asyncio.create_task(bind(ends[1]))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(backlog.room())
    await asyncio.sleep(10.0)
    assert not waiting.done()
    assert metrics.bindings_under_way._value.get() == 2
    ends[0].set()
    await waiting
    ends[1].set()
    assert [type(error) for error in await asyncio.gather(first, second, return_exceptions=True)] == [OSError, OSError]
    assert metrics.bindings_under_way._value.get() == 0


@pytest.mark.looptime
async def test_patience_ends_and_no_limit_means_no_wait() -> None:
    """Bindings that hang hold up no filter for longer than they may; without a limit none waits."""
    patient, free = Backlog(1, 0.5, Metrics()), Backlog(0, 0.5, Metrics())
    loop = asyncio.get_running_loop()
    with patient, free:
        before = loop.time()
        await free.room()
        assert loop.time() == before
        await patient.room()
        assert loop.time() - before == pytest.approx(0.5)

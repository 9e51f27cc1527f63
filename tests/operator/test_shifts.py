"""A shift whose watches end unasked is followed by another one; only who is told to stop stops."""

import asyncio
import contextlib
from typing import Any

import kopf
import pytest
from stowplan_operator.reconciling import shifts
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.shifts import Shifts
from stowplan_operator.settings import OperatorSettings
from support.fake_operator_worlds import FilePredictor


async def connect(**_: object) -> kopf.ConnectionInfo:
    """Where nobody listens."""
    return kopf.ConnectionInfo(server="http://127.0.0.1:1")


class Watching:
    """kopf, as far as shifts see it: takes the signals, and ends each time in another way."""

    def __init__(self, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stop, self.began, self.listened = stop, 0, 0
        monkeypatch.setattr(shifts, "_PAUSE_S", 0.01)
        monkeypatch.setattr(shifts, "_LAST_WORD_S", 0.2)
        monkeypatch.setattr(kopf, "spawn_tasks", self.spawn)
        monkeypatch.setattr(kopf, "run_tasks", self.run)

    async def spawn(self, **_: Any) -> list[asyncio.Task[None]]:
        """Begins."""
        self.began += 1
        assert self.listened == self.began - 1, "the signals of the shift before were taken back"
        return [asyncio.create_task(asyncio.sleep(0))]

    async def run(self, _: object, *, ignored: set[asyncio.Task[None]]) -> None:
        """First fails, then ends in silence, then ends what it takes for its own before it says why it failed, then is told to stop."""
        await asyncio.sleep(0)
        match self.began:
            case 1:
                raise RuntimeError("404 page not found")
            case 2:
                return
            case 3:
                ours = {task for task in asyncio.all_tasks() if task.get_name().startswith("worker")}
                assert ours
                assert ours <= ignored, "kopf leaves what began before it alone"
                raise RuntimeError("the last word")
            case _:
                self.stop.set()

    def listen(self) -> None:
        """What takes the signals back."""
        self.listened += 1


async def test_watches_that_end_unasked_are_started_anew(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A failure, an end in silence, a failure told late: each is counted, said, and followed by another shift, with the signals taken back each time."""
    stop, metrics = asyncio.Event(), Metrics()
    watching = Watching(stop, monkeypatch)
    await asyncio.wait_for(Shifts(OperatorSettings(), FilePredictor(), connect, metrics, watching.listen).run(stop), 30)
    assert (watching.began, watching.listened) == (4, 4)
    assert metrics.registry.get_sample_value("stowplan_operator_shifts_broken_total") == 3
    said = [record.__dict__["error"] for record in caplog.records if record.getMessage().startswith("the watches broke off")]
    assert ["404 page not found" in said[0], "ended by themselves" in said[1], "the last word" in said[2]] == [True, True, True]


class Deaf(Watching):
    """One of its watches takes its first end for a pause, and is told no second time."""

    async def spawn(self, **_: Any) -> list[asyncio.Task[None]]:
        """Begins, with a watch beside."""
        found = await super().spawn()
        self.watch = asyncio.create_task(self.go_on(), name="watcher for pods.v1@none")
        return found

    async def go_on(self) -> None:
        """Watches."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def run(self, found: Any, *, ignored: set[asyncio.Task[None]]) -> None:
        """Fails, and ends its watches first."""
        del ignored
        await asyncio.wait(found)
        await asyncio.sleep(0)
        self.watch.cancel()
        await asyncio.wait([self.watch])
        if self.began > 1:
            self.stop.set()
            return
        raise RuntimeError("an answer that cannot be read")


async def test_a_watch_that_does_not_hear_its_end_keeps_nobody_from_the_next_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    """The framework waits for its watches without an end; one that goes on is told again, so that the next shift begins."""
    monkeypatch.setattr(shifts, "_AGAIN_S", 0.01)
    stop = asyncio.Event()
    deaf = Deaf(stop, monkeypatch)
    await asyncio.wait_for(Shifts(OperatorSettings(), FilePredictor(), connect, Metrics(), deaf.listen).run(stop), 30)
    assert deaf.began == 2

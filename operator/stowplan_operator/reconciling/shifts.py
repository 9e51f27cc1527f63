"""Shifts: one stretch of watching and reconciling, from the first lists until it is told to stop or the watches cannot go on.

Nothing is carried from one shift to the next but the metrics: what matters is in the cluster, so a shift that broke off is simply followed by another one.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, Final

import kopf
from stowplan_fleet.predictors import Predictors
from stowplan_fleet.services import ServiceName

from stowplan_operator.reconciling import frameworks
from stowplan_operator.reconciling.apis import HttpApi
from stowplan_operator.reconciling.definitions import Definitions
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.moments import Clock
from stowplan_operator.reconciling.queues import WorkQueue
from stowplan_operator.reconciling.reconcilers import FOREVER, Reconciler
from stowplan_operator.reconciling.streams import Connections, Listener
from stowplan_operator.reconciling.sweeps import Sweeper
from stowplan_operator.reconciling.views import DESCRIPTORS, Kind, KopfViews
from stowplan_operator.reconciling.watches import Watches
from stowplan_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)
# Before the next shift, doubling from the first to the last: the cause is outside of us and may last.
_PAUSE_S: Final = 1.0
_PAUSE_MAX_S: Final = 30.0

# How long to wait for kopf's own word on why it ends: it lets what it believes to be its own end first, for five seconds (`run_tasks`).
_LAST_WORD_S: Final = 10.0
# How often those that have not heard that they are to end are told again.
_AGAIN_S: Final = 1.0
# As kopf names the tasks that list and watch (`spawn_missing_watchers`).
_WATCHER: Final = "watcher for "

Connect = Callable[..., Awaitable[kopf.ConnectionInfo]]


class ShiftEnded(Exception):
    """The watches ended, though nobody told them to, and did not say why."""


class Shifts:
    """Works shift after shift."""

    def __init__(
        self, settings: OperatorSettings, predictor: Predictors, connect: Connect, metrics: Metrics, listen: Callable[[], None] = lambda: None
    ) -> None:
        """`listen` makes signals set the event that `run` is given; kopf takes them for itself whenever it starts, and they are taken back."""
        self._settings, self._predictor, self._connect, self._metrics, self._listen = settings, predictor, connect, metrics, listen
        self._ready = asyncio.Event()

    def is_ready(self) -> bool:
        """Whether the watches run."""
        return self._ready.is_set()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set."""
        pause_s = _PAUSE_S
        while not stop.is_set():
            self._ready = asyncio.Event()
            began_s = asyncio.get_running_loop().time()
            try:
                await self._work(stop)
                if not stop.is_set():
                    raise ShiftEnded("the watches ended by themselves")
            except Exception as error:
                self._ready.clear()
                self._metrics.shifts_broken.inc()
                if asyncio.get_running_loop().time() - began_s > _PAUSE_MAX_S:
                    pause_s = _PAUSE_S
                logger.exception("the watches broke off; they are started anew", extra={"error": repr(error)[:1024], "pause_s": pause_s})
                try:
                    await asyncio.wait_for(stop.wait(), pause_s)
                except TimeoutError:
                    pause_s = min(_PAUSE_MAX_S, 2 * pause_s)

    async def _work(self, stop: asyncio.Event) -> None:
        settings, metrics = self._settings, self._metrics
        watches = Watches(settings.api, lambda name: queue.add(name))  # noqa: PLW0108 - the queue is made below
        listener = Listener.made(settings.api, metrics)

        @kopf.on.login(registry=watches.registry)
        async def login(**_: object) -> kopf.AiohttpSession:
            return Connections(await self._connect(), listener)

        async with HttpApi(self._connect, settings.api.timeout_s, metrics.api_failures) as api:
            reconcilers: list[Reconciler] = []
            sweepers: list[Sweeper] = []
            begun = asyncio.Event()

            async def look(name: ServiceName) -> float | None:
                delay_s = await reconcilers[0].reconcile(name)
                if delay_s == FOREVER:
                    queue.forget(name)
                return delay_s

            queue: WorkQueue[ServiceName] = WorkQueue(look, settings.reconciling.backoff_s, settings.reconciling.backoff_max_s)

            @kopf.on.startup(registry=watches.registry)
            async def begin(**kwargs: Any) -> None:  # noqa: ANN401 - as kopf calls it
                # Indices are handed to handlers by name, and stay live.
                views = KopfViews({name: kwargs[name] for name in (*map(str, Kind), DESCRIPTORS)})
                watches.views = views
                reconcilers.append(Reconciler(views, api, self._predictor, settings=settings, now=Clock(metrics.clock_jumps).now, metrics=metrics))
                sweepers.append(Sweeper(views, api, metrics, add=queue.add, every_s=settings.api.sweep_s))
                begun.set()
                metrics.cluster.views = views
                metrics.services.set_function(lambda: len(views.services()))
                metrics.waiting.set_function(lambda: len(queue))

            async def sweep() -> None:
                await begun.wait()
                await sweepers[0].run()

            async def watch() -> None:
                # What `kopf.operator` does, and our signals taken back in between. It ends what began after it, so ours begins before.
                before = asyncio.all_tasks()
                found = await kopf.spawn_tasks(
                    registry=watches.registry,
                    settings=frameworks.settings_of(settings.api.idle_s),
                    clusterwide=True,
                    standalone=True,
                    stop_flag=stop,
                    ready_flag=self._ready,
                )
                self._listen()
                async with _insisting(found) as insisting:
                    await kopf.run_tasks(found, ignored=before | {insisting})

            definitions = Definitions(api.serves_services, metrics.definition_served, settings.reconciling.resync_s)
            tasks = [asyncio.create_task(work) for work in (queue.run(settings.reconciling.workers), sweep(), definitions.run())]
            await asyncio.sleep(0)  # the workers, too
            watching = asyncio.create_task(watch())
            tasks.append(watching)
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if all(task.cancelled() or task.exception() is None for task in done):
                    # What of ours began later all the same is ended when a watch fails, and why it failed is told only afterwards.
                    await asyncio.wait([watching], timeout=_LAST_WORD_S)
            finally:
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                for reconciler in reconcilers:
                    await reconciler.close()
            failure = next((result for result in results if isinstance(result, Exception)), None)
            if failure is not None:
                raise failure


@contextlib.asynccontextmanager
async def _insisting(found: Collection[asyncio.Task[Any]]) -> AsyncIterator[asyncio.Task[None]]:
    """While inside, a task ends the watches that kopf waits for in vain, once one of kopf's tasks has ended.

    kopf tells them once, together with the future that pauses them, and a watch that is about to connect takes the one for the other: it goes on
    (`kopf._cogs.clients.api.stream`), and asks for credentials that nobody gives any more. The process would wait for it for ever, and serve nobody.
    """

    async def insist() -> None:
        await asyncio.wait(found, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(_LAST_WORD_S)
        while True:
            for task in asyncio.all_tasks():
                if task.get_name().startswith(_WATCHER):
                    task.cancel()
            await asyncio.sleep(_AGAIN_S)

    task = asyncio.create_task(insist())
    try:
        yield task
    finally:
        task.cancel()

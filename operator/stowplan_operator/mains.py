"""The operator's process: watches, queue, reconciler, probes, put together."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any, Final

import kopf
from stowplan_fleet import keys, logs
from stowplan_fleet import settings as settings_
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.errors import SettingsRefused
from stowplan_fleet.predictors import Predictor
from stowplan_fleet.services import ServiceName

from stowplan_operator.errors import StartRefused
from stowplan_operator.reconciling import credentials, healths
from stowplan_operator.reconciling.apis import HttpApi
from stowplan_operator.reconciling.events import COMPONENT
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.moments import Clock
from stowplan_operator.reconciling.queues import WorkQueue
from stowplan_operator.reconciling.reconcilers import FOREVER, Reconciler
from stowplan_operator.reconciling.views import KopfViews
from stowplan_operator.reconciling.watches import Watches
from stowplan_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)
ENV_PREFIX: Final = "STOWPLAN_OPERATOR_"
# The API server takes JSON of up to 10,000 levels (encoding/json, maxNestingDepth), and the standard library's decoder, which kopf uses for what it
# watches, counts each level as a call: one hostile object would end the watch of all. `copy.deepcopy` takes two calls a level. The C stack does with
# 4 MiB for 10,000 levels.
_CALLS_MAX: Final = 25_000


def kopf_settings() -> kopf.OperatorSettings:
    """How kopf shall behave: it watches, and writes nothing."""
    settings = kopf.OperatorSettings()
    # None of these is ever written, because no handler needs them; should one appear, it is ours and not kopf's.
    settings.persistence.finalizer = f"{keys.GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=keys.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=keys.GROUP)
    settings.posting.enabled = False
    settings.posting.reporting_component = COMPONENT
    return settings


async def operate(settings: OperatorSettings, predictor: Predictor, stop: asyncio.Event) -> None:
    """Runs the operator until `stop` is set.

    Raises:
        StartRefused: no credentials for the API server.
    """

    async def connect(**_: object) -> kopf.ConnectionInfo:
        return await credentials.connect(settings.api)

    await connect()  # says at once, and plainly, what is missing
    metrics = Metrics()
    watches = Watches(settings.api, lambda name: queue.add(name))  # noqa: PLW0108 - the queue is made below
    kopf.on.login(registry=watches.registry)(connect)
    async with HttpApi(connect, settings.api.timeout_s) as api:
        reconcilers: list[Reconciler] = []

        async def look(name: ServiceName) -> float | None:
            delay_s = await reconcilers[0].reconcile(name)
            if delay_s == FOREVER:
                queue.forget(name)
            return delay_s

        queue: WorkQueue[ServiceName] = WorkQueue(look, settings.reconciling.backoff_s, settings.reconciling.backoff_max_s)

        @kopf.on.startup(registry=watches.registry)
        async def begin(**kwargs: Any) -> None:  # noqa: ANN401 - as kopf calls it
            # Indices are handed to handlers by name, and stay live.
            views = KopfViews({name: kwargs[name] for name in ("services", "nodes", "pods", "configmaps", "deployments")})
            watches.views = views
            reconcilers.append(Reconciler(views, api, predictor, settings=settings, now=Clock(metrics.clock_jumps).now, metrics=metrics))
            metrics.services.set_function(lambda: len(views.services()))
            metrics.waiting.set_function(lambda: len(queue))

        ready = asyncio.Event()
        async with healths.serving(settings.serving, metrics.registry, ready.is_set):
            operator = asyncio.create_task(
                kopf.operator(registry=watches.registry, settings=kopf_settings(), clusterwide=True, standalone=True, stop_flag=stop, ready_flag=ready)
            )
            work = asyncio.create_task(queue.run(settings.reconciling.workers))
            try:
                await asyncio.wait({operator, work}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (work, operator):
                    task.cancel()
                results = await asyncio.gather(operator, work, return_exceptions=True)
                for reconciler in reconcilers:
                    await reconciler.close()
            failure = next((result for result in results if isinstance(result, Exception)), None)
            if failure is not None:
                raise failure


async def run(settings: OperatorSettings) -> None:
    """Runs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    logger.info("operator starts", extra={"settings": settings_.show(settings)})
    async with GrpcPredictor(settings.predictor.targets, settings.predictor.timeout_s) as predictor:
        await operate(settings, predictor, stop)
    logger.info("operator ends")


def main(arguments: list[str] | None = None) -> int:
    """`python -m stowplan_operator [--settings FILE]`; 0 when it was told to stop, 1 where it could not start or failed."""
    parser = argparse.ArgumentParser(prog="stowplan_operator", description="Keeps InferenceServices on the cheapest slices that meet their objectives.")
    parser.add_argument("--settings", type=Path, help=f"YAML file; environment variables {ENV_PREFIX}<GROUP>_<FIELD> win over it")
    parser.add_argument("--show-settings", action="store_true", help="print the effective settings and stop")
    given = parser.parse_args(arguments)
    sys.setrecursionlimit(_CALLS_MAX)
    try:
        effective = settings_.load(OperatorSettings, given.settings, ENV_PREFIX)
        if given.show_settings:
            sys.stdout.write(settings_.show(effective))
            return 0
        logs.configure(effective.log_level)
        asyncio.run(run(effective))
    except (SettingsRefused, StartRefused, OSError) as error:
        sys.stderr.write(f"stowplan_operator: {error}\n")
        return 1
    return 0

"""The operator's process: watches, queue, reconciler, probes, put together."""

import asyncio
import logging
import signal
import sys
from typing import Final

import kopf
from stowplan_fleet import channels, programs
from stowplan_fleet import settings as settings_

from stowplan_operator.errors import StartRefused
from stowplan_operator.reconciling import credentials, frameworks, healths
from stowplan_operator.reconciling.endpoints import Endpoints
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.paces import Paced
from stowplan_operator.reconciling.shifts import Shifts
from stowplan_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)
ENV_PREFIX: Final = "STOWPLAN_OPERATOR_"
# The API server takes JSON of up to 10,000 levels (encoding/json, maxNestingDepth), and the standard library's decoder, which kopf uses for what it
# watches, counts each level as a call: one hostile object would end the watch of all. `copy.deepcopy` takes two calls a level. The C stack does with
# 4 MiB for 10,000 levels.
CALLS_MAX: Final = 25_000


async def run(settings: OperatorSettings) -> None:
    """Runs until SIGTERM or SIGINT.

    Raises:
        StartRefused: no credentials for the API server.
        CertificateRefused: no usable ones for the predictor.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    listen()
    logger.info("operator starts", extra={"settings": settings_.show(settings)})

    async def connect(**_: object) -> kopf.ConnectionInfo:
        return await credentials.connect(settings.api)

    await connect()  # says at once, and plainly, what is missing
    metrics = Metrics()
    frameworks.hear(metrics.watch_troubles, settings.watch_log_level)
    identity = channels.identity(settings.predictor.tls, metrics.certificates)
    async with Endpoints(settings.predictor.targets, settings.predictor.timeout_s, identity=identity) as predictor:
        shifts = Shifts(settings, Paced(predictor, settings.predictor.slow_s, metrics), connect, metrics, listen)
        async with healths.serving(settings.serving, metrics.registry, shifts.is_ready):
            await shifts.run(stop)
    logger.info("operator ends")


def main(arguments: list[str] | None = None) -> int:
    """`python -m stowplan_operator [--settings FILE]`; 0 when it was told to stop, 1 where it could not start or failed."""

    def serve(settings: OperatorSettings) -> int:
        asyncio.run(run(settings))
        return 0

    sys.setrecursionlimit(CALLS_MAX)
    purpose = "Keeps InferenceServices on the cheapest slices that meet their objectives."
    return programs.start("stowplan_operator", purpose, OperatorSettings, ENV_PREFIX, serve, refusals=(StartRefused,), arguments=arguments)

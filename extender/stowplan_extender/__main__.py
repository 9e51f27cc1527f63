"""`python -m stowplan_extender [--settings FILE]`."""

import asyncio
import sys

from stowplan_fleet import programs

from stowplan_extender import depths, processes
from stowplan_extender.errors import ConfigurationRefused
from stowplan_extender.settings import ExtenderSettings

try:
    from uvloop import run
except ImportError:  # it is an extra, and not built for every platform
    from asyncio import run  # type: ignore[assignment]

ENV_PREFIX = "STOWPLAN_EXTENDER_"


def main(arguments: list[str] | None = None) -> int:
    """Runs the extender until it is told to stop; 0 then, 1 where it could not start."""

    def serve(settings: ExtenderSettings) -> int:
        depths.allow()
        try:
            run(processes.run(settings))
        except asyncio.CancelledError:
            return 1
        return 0

    purpose = "Scheduler extender that keeps latency objectives."
    return programs.start("stowplan_extender", purpose, ExtenderSettings, ENV_PREFIX, serve, refusals=(ConfigurationRefused,), arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())

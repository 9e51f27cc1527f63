"""`python -m stowplan_extender [--settings FILE]`."""

import argparse
import asyncio
import sys
from pathlib import Path

from stowplan_fleet import logs, settings
from stowplan_fleet.errors import SettingsRefused

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
    parser = argparse.ArgumentParser(prog="stowplan_extender", description="Scheduler extender that keeps latency objectives.")
    parser.add_argument("--settings", type=Path, help=f"YAML file; environment variables {ENV_PREFIX}<GROUP>_<FIELD> win over it")
    parser.add_argument("--show-settings", action="store_true", help="print the effective settings and stop")
    given = parser.parse_args(arguments)
    try:
        effective = settings.load(ExtenderSettings, given.settings, ENV_PREFIX)
        if given.show_settings:
            sys.stdout.write(settings.show(effective))
            return 0
        logs.configure(effective.log_level)
        depths.allow()
        run(processes.run(effective))
    except (SettingsRefused, ConfigurationRefused, OSError) as error:
        sys.stderr.write(f"stowplan_extender: {error}\n")
        return 1
    except asyncio.CancelledError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

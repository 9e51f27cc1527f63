"""`python -m stowplan_predictor [--settings FILE]`."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from stowplan_fleet import logs, settings
from stowplan_fleet.errors import SettingsRefused

from stowplan_predictor.errors import BundleError
from stowplan_predictor.serving import servers
from stowplan_predictor.serving.settings import ENV_PREFIX, PredictorSettings


def main(arguments: list[str] | None = None) -> int:
    """Serves until told to stop; 0 then, 1 where it could not start."""
    parser = argparse.ArgumentParser(prog="stowplan_predictor", description="Predicts how long a neural network takes on a slice of a device.")
    parser.add_argument("--settings", type=Path, help=f"YAML file; environment variables {ENV_PREFIX}<GROUP>_<FIELD> win over it")
    parser.add_argument("--show-settings", action="store_true", help="print the effective settings and stop")
    given = parser.parse_args(arguments)
    try:
        effective = settings.load(PredictorSettings, given.settings, ENV_PREFIX)
        if given.show_settings:
            sys.stdout.write(settings.show(effective))
            return 0
        logs.configure(effective.log_level)
        unfinished = asyncio.run(servers.run(effective))
        if unfinished:
            # A thread inside ONNX cannot be stopped, and the interpreter would wait for it: its grace is over.
            logging.shutdown()
            os._exit(0)
    except (SettingsRefused, BundleError, OSError) as error:
        sys.stderr.write(f"stowplan_predictor: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Programs: how each of our long-running processes starts: arguments, settings, logs, and one line on standard error where it cannot."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from stowplan_fleet import logs, settings
from stowplan_fleet.errors import CertificateRefused, SettingsRefused


class Settings(Protocol):
    """What every process' settings have."""

    @property
    def log_level(self) -> str:
        """`debug`, `info`, `warning` or `error`."""


S = TypeVar("S", bound=Settings)


def start(
    program: str,
    purpose: str,
    kind: type[S],
    env_prefix: str,
    serve: Callable[[S], int],
    *,
    refusals: tuple[type[Exception], ...] = (),
    arguments: list[str] | None = None,
) -> int:
    """`python -m PROGRAM [--settings FILE] [--show-settings]`; answers the exit status: what `serve` answers, or 1 where it could not start.

    Args:
        program: its name.
        purpose: one sentence for `--help`.
        kind: the dataclass of its settings.
        env_prefix: of the environment variables that set them.
        serve: does the work until it is told to stop.
        refusals: what `serve` raises where it cannot start; the message says what to change.
        arguments: of the command line; None for the process' own.
    """
    parser = argparse.ArgumentParser(prog=program, description=purpose)
    parser.add_argument("--settings", type=Path, help=f"YAML file; environment variables {env_prefix}<GROUP>_<FIELD> win over it")
    parser.add_argument("--show-settings", action="store_true", help="print the effective settings and stop")
    given = parser.parse_args(arguments)
    refused: tuple[type[Exception], ...] = (SettingsRefused, CertificateRefused, OSError, *refusals)
    try:
        effective = settings.load(kind, given.settings, env_prefix)
        if given.show_settings:
            sys.stdout.write(settings.show(effective))
            return 0
        logs.configure(effective.log_level)
        return serve(effective)
    except refused as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1

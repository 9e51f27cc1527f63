"""The commands put together; also `kubectl stowplan` (a plugin is any program of that name on the path).

Modules of commands import nothing heavy: `stowplan --help` starts in a fraction of a second.
"""

import importlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from stowplan_cli.terminal import exits

# Modules with a function `register(app)`, in the order in which `--help` lists their commands.
THEMES: Final = (
    "forecasts.predicting", "forecasts.explaining", "placements.placing", "placements.surveying", "placements.auditing", "placements.replaying",
    "forecasts.slicing", "measurements.measuring", "measurements.profiling", "forecasts.bundles", "measurements.evaluating",
    "measurements.calibrating", "forecasts.stripping", "processes",
)  # fmt: skip

# As a plugin of kubectl: what is asked of a cluster; `explain` names a service there.
PLUGIN_THEMES: Final = ("placements.accounting", "placements.surveying", "placements.placing", "forecasts.slicing", "placements.auditing")
_PLUGIN: Final = "kubectl-stowplan"


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - a callback's signature
    if wanted:
        typer.echo(f"stowplan {version('stowplan')}")
        raise typer.Exit


def _root(
    show_version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Predict the latency of neural networks before they are placed, and place them so that their objectives hold.

    Exit status: 0 done, 1 refused input (the reason is on stderr), 2 wrong usage, 3 cannot judge, 4 an audit found a broken promise.
    """


def build(*, plugin: bool = False) -> typer.Typer:
    """The application with every command, or those of kubectl's plugin."""
    app = typer.Typer(
        name="kubectl stowplan" if plugin else "stowplan",
        cls=exits.Commands,
        callback=_root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for theme in PLUGIN_THEMES if plugin else THEMES:
        importlib.import_module(f"stowplan_cli.{theme}").register(app)
    return app


def main() -> None:
    """Entry point of the console scripts."""
    build(plugin=Path(sys.argv[0]).name == _PLUGIN)()


if __name__ == "__main__":
    main()

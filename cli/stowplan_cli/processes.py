"""Commands that hand everything they are given to a module's own entry point: the three processes of a cluster, and training.

Each module has `main(arguments) -> exit status` and its own `--help`.
"""

import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

import typer

from stowplan_cli.terminal import progresses

# Command, module, help.
PROCESSES: Final = (
    ("serve-predictor", "stowplan_predictor.__main__", "Serve predictions over gRPC, with health, reflection and /metrics."),
    ("serve-extender", "stowplan_extender.__main__", "Serve the scheduler extender over HTTP."),
    ("operator", "stowplan_operator.__main__", "Run the operator of InferenceServices."),
    ("dataset", "stowplan_predictor.training.campaigns.__main__", "Measure a training data set on this machine."),
    ("train", "stowplan_predictor.training.bundles.trainers", "Train a bundle from measured data, and judge it on held-out families."),
)

# Those that end by themselves without a bar of their own: how long they usually take on two cores.
_USUAL_SECONDS: Final = {"train": 120.0}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, module, text in PROCESSES:
        settings = {"allow_extra_args": True, "ignore_unknown_options": True}
        app.command(name, help=text, context_settings=settings, add_help_option=False)(forwarding(name, module))


def forwarding(name: str, module: str) -> Callable[[typer.Context], None]:
    """A command that runs a module's `main` with the arguments it was given."""

    def command(context: typer.Context) -> None:
        main: Callable[[list[str]], int | None] = importlib.import_module(module).main
        # What argparse prints as the program's name.
        sys.argv[0] = f"stowplan {name}"
        with progresses.waiting(name, _USUAL_SECONDS[name]) if name in _USUAL_SECONDS else nullcontext():
            status = main(list(context.args)) or 0
        raise typer.Exit(status)

    return command

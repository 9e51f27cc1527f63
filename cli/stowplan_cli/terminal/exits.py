"""Exit statuses, and what becomes one: every refusal is one line on stderr (what, where, what next), never a traceback.

Only errors that name themselves are caught; anything else is a defect and shows as such.
"""

import sys
from typing import Any, Final

import typer
from stowplan_fleet.errors import FleetError
from stowplan_predictor.errors import CannotJudge, PredictorError
from typer.core import TyperGroup

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
CANNOT_JUDGE: Final = 3
# Temporary failure (sysexits.h, EX_TEMPFAIL): time was over; the same command goes on.
UNFINISHED: Final = 75
BROKEN: Final = 4

# Which extra brings a module that is not there.
_EXTRAS: Final = {
    "predictor": ("numpy", "onnx", "onnxruntime", "grpc_health", "grpc_reflection"),
    "extender": ("aiohttp", "uvloop", "kubernetes"),
    "operator": ("kopf", "obstore"),
    "cli": ("typer", "rich"),
    "train": ("torch", "torch_geometric", "torchvision", "timm", "transformers", "sklearn", "scipy", "onnxscript", "pyarrow", "threadpoolctl"),
}


class Refused(FleetError):
    """Something typed on the command line is not acceptable; the message says what, where and what next."""


class Commands(TyperGroup):
    """The group of all commands: turns named errors into exit statuses."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - a context of whichever click typer carries
        """Runs a command.

        Raises:
            typer.Exit: it was refused, or could not judge (the reason is on stderr), or nobody reads its output any more.
        """
        try:
            return super().invoke(ctx)
        except CannotJudge as error:
            raise _exit(CANNOT_JUDGE, f"cannot judge: {error}") from error
        except (FleetError, PredictorError) as error:
            raise _exit(REFUSED, str(error)) from error
        except ModuleNotFoundError as error:
            extra = extra_of(error.name or "")
            if extra is None:
                raise
            raise _exit(REFUSED, f"this command needs {error.name}, which is not installed: pip install 'stowplan[{extra}]'") from error
        except BrokenPipeError as error:
            # Whoever read our output (`head`) has seen enough; nothing more can be written, not even by the interpreter's own flush.
            sys.stdout = None
            raise typer.Exit(DONE) from error
        except OSError as error:
            if error.filename is None:
                raise
            raise _exit(REFUSED, f"{error.filename}: {error.strerror or error}; check the path and its permissions") from error


def extra_of(module: str) -> str | None:
    """The extra of this distribution that brings a module; None where no extra does, so that its absence is a defect."""
    root = module.partition(".")[0]
    return next((extra for extra, modules in _EXTRAS.items() if root in modules), None)


def plain(message: str) -> str:
    """A message that may quote hostile bytes: what is no character of the terminal's is escaped, control sequences too."""
    return "".join(character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode() for character in message)


def _exit(status: int, message: str) -> typer.Exit:
    sys.stderr.write(f"stowplan: {plain(message)}\n")
    return typer.Exit(status)

"""Files that commands write: whole or not at all, and never over something without being told to."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from stowplan_cli.terminal.exits import Refused

ForceOption = Annotated[bool, typer.Option("--force", help="Write over a file that is already there.")]


def check_free(path: Path, *, force: bool) -> None:
    """Refuses a path that nothing can or should be written to, before work is spent.

    Raises:
        Refused: something is there, or the directory is not.
    """
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise Refused(f"{path}: not a plain file; name a file to write")
    if path.exists() and not force:
        raise Refused(f"{path}: already there; name another file, or write over it with --force")
    if not path.absolute().parent.is_dir():
        raise Refused(f"{path}: no such directory; make it first")


def write_whole(path: Path, content: bytes) -> None:
    """Writes to a temporary file beside the target, then moves it in place; nothing is left where that fails.

    Raises:
        Refused: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Refused(f"{path}: cannot be written ({error.strerror or error}); check the path and its permissions") from error

"""Outputs: the same document as a table for people, or as JSON or YAML for programs."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import errno
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stowplan_cli.terminal import exits

if TYPE_CHECKING:
    from rich.console import Console

# Wider than any row: what is piped into grep is one line a row.
_WIDE: Final = 4_000

Document = Mapping[str, Any]


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How the result is printed.")]


def emit(document: Document, output: Format, table: Callable[["Console"], None]) -> None:
    """Prints a document on stdout; `table` prints it for people.

    Raises:
        ValueError: a number is not finite, which no JSON reader takes.
        BrokenPipeError: whoever read it has left.
    """
    if output is Format.JSON:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    elif output is Format.YAML:
        import yaml

        sys.stdout.write(yaml.safe_dump(json.loads(json.dumps(document, allow_nan=False)), sort_keys=False, allow_unicode=True))
    else:
        from rich.console import Console

        class Page(Console):
            def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - whatever a console takes
                # What tenants wrote is shown, never obeyed.
                super().print(*(exits.plain(item) if isinstance(item, str) else item for item in objects), **options)

            def on_broken_pipe(self) -> None:
                raise BrokenPipeError(errno.EPIPE, "whoever read this has left")

        # Files and pipes get neither colours nor wrapped cells.
        table(Page(highlight=False) if sys.stdout.isatty() else Page(highlight=False, no_color=True, width=_WIDE))
    sys.stdout.flush()


def print_rows(console: "Console", headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """A table without borders; the first `left` columns are words, the others numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position < left else "right", overflow="fold")
    for row in rows:
        # Names come from model files: as plain text they carry neither markup nor control sequences.
        table.add_row(*(Text(exits.plain(cell)) for cell in row))
    console.print(table)


def milliseconds(value: float) -> str:
    """Three significant digits, whatever the size."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def counted(value: float) -> str:
    """A count as people say it: 3.86 G."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"

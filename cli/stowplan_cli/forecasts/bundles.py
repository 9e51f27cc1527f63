"""`stowplan bundle`: what a bundle says of itself: which model serves each stage, its errors on what it had not seen, where its data comes from."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stowplan_cli.inputs import questions
from stowplan_cli.terminal import outputs

if TYPE_CHECKING:
    from rich.console import Console

# Elements of a list that the table shows; graphs that a bundle was trained on are thousands. JSON and YAML have all.
_LISTED: Final = 8


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("bundle")(bundle)


def bundle(
    directory: Annotated[Path | None, typer.Argument(metavar="DIR", help="Bundle directory; the shipped one where not given.", show_default=False)] = None,
    runtime: questions.RuntimeOption = questions.RUNTIME,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Check a bundle's digests and show what is in it, its errors and where its data comes from."""
    import msgspec

    opened = questions.any_bundle(directory, runtime)
    document = msgspec.json.decode(opened.manifest_json)
    outputs.emit(document, output, lambda console: _print(console, document))


def _print(console: "Console", document: Mapping[str, Any]) -> None:
    console.print(f"{document['name']} {document['version']}\nfor {document['runtime']}, {len(document['files'])} files, unaltered", markup=False)
    for heading in ("models", "errors", "provenance"):
        rows = [[path, text] for path, text in leaves(document[heading])]
        console.print(f"\n{heading}{'' if rows else ': none stated'}", markup=False)
        if rows:
            outputs.print_rows(console, ["WHAT", "VALUE"], rows, left=2)


def leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every plain value in a nested document, with where it stands: `kernels.Conv.mape`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for position, item in enumerate(value):
            yield from leaves(item, f"{path}[{position}]")
    elif isinstance(value, list):
        shown = ", ".join(str(item) for item in value[:_LISTED])
        yield path, shown if len(value) <= _LISTED else f"{shown} and {len(value) - _LISTED} more"
    else:
        yield path, f"{value:.4g}" if isinstance(value, float) else str(value)

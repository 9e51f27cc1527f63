"""`stowplan evaluate`: every system by its committed predictions, or any bundle on any data set by asking it."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stowplan_cli.inputs import questions
from stowplan_cli.terminal import exits, outputs, progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_predictor.training.pages.bundle_judgements import BundleJudgement
    from stowplan_predictor.training.pages.evaluations import Evaluation
    from stowplan_predictor.training.pages.tables import Table

SHIPPED: Final = "shipped"
_ALL: Final = "all"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    *,
    bundle: Annotated[
        str | None, typer.Option("--bundle", metavar="DIR", help=f"Judge this bundle; `{SHIPPED}` is the one of this package.", show_default=False)
    ] = None,
    datasets: Annotated[Path, typer.Option("--datasets", metavar="DIR", help="Folder of data sets, with splits.json.")] = Path("datasets"),
    dataset: Annotated[
        Path | None, typer.Option("--dataset", metavar="DIR", help="One data set; the only one of --datasets where not given.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="zoo|light|fnn|cnn|random|all", help="With --bundle: which networks.")] = _ALL,
    page: Annotated[Path, typer.Option("--page", metavar="FILE.md", help="Where the page is written, without --bundle.")] = Path("docs/accuracy.md"),
    check: Annotated[bool, typer.Option("--check", help="Write no page; exit status 1 where it is not what the predictions say.")] = False,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Judge all systems on families they never saw and write the accuracy page; with --bundle, judge that bundle.

    Nothing is trained. Without --bundle, figures come from the committed predictions of each system; with it, the bundle is asked about each network.
    """
    from stowplan_predictor.training.pages import sources as accuracy_sources

    folder = accuracy_sources.dataset_folder(datasets, dataset)
    if bundle is not None:
        _judge(bundle, folder, split, output)
        return
    if split != _ALL:
        raise Refused(f"--split {split[:32]}: the table holds every split; name a --bundle to judge on one")
    from stowplan_predictor.training.pages import evaluations

    with progresses.waiting("judging"):
        found = evaluations.evaluate(folder, accuracy_sources.shipped_folder())
    outputs.emit(_table_document(found), output, lambda console: _print_table(console, found))
    if check:
        if not evaluations.is_current(found.page, page):
            sys.stderr.write(f"stowplan: {page}: not what the predictions say; run `stowplan evaluate` and commit\n")
            raise typer.Exit(exits.REFUSED)
        return
    evaluations.write_page(found.page, page)
    sys.stderr.write(f"written: {page}\n")


def _table_document(found: "Evaluation") -> dict[str, Any]:
    from stowplan_predictor.training.pages.tables import figure_document

    bars = [dict(zip(found.bars.header, row, strict=True)) for row in found.bars.rows]
    return {"device": found.device, "bars": bars, "figures": [figure_document(item) for item in found.figures]}


def _print_cells(console: "Console", table: "Table", left: int) -> None:
    """A table of the page; marks of Markdown mean nothing on a terminal."""
    rows = [[cell.replace("*", "") for cell in row] for row in table.rows]
    outputs.print_rows(console, [heading.upper() for heading in table.header], rows, left=left)


def _print_table(console: "Console", found: "Evaluation") -> None:
    console.print(f"{found.device}, families held out", markup=False)
    _print_cells(console, found.table, 2)
    console.print()
    _print_cells(console, found.bars, 1)


def _judge(named: str, folder: Path, split: str, output: outputs.Format) -> None:
    from stowplan_predictor.training.pages.bundle_judgements import SPLITS, judge_bundle

    if split != _ALL and split not in SPLITS:
        raise Refused(f"--split {split[:32]!r}: there are {', '.join(SPLITS)} and {_ALL}")
    opened = questions.opened_bundle(None if named == SHIPPED else Path(named), questions.RUNTIME)
    with progresses.counting("asking the bundle") as advance:
        found = judge_bundle(opened, folder, SPLITS if split == _ALL else (split,), advance)
    if not found.cases:
        raise Refused(f"{folder}: holds no network of the split {split!r}; choose another one")
    warning = _warning(found)
    if warning:
        sys.stderr.write(f"stowplan: WARNING: {warning}\n")
    document = _bundle_document(found, warning)
    outputs.emit(document, output, lambda console: _print_bundle(console, found))


def _warning(found: "BundleJudgement") -> str:
    """What must not be overlooked: a bundle remembers what it was trained on."""
    from stowplan_predictor.training.pages.bundle_judgements import Acquaintance

    trained, strange, untold = (found.count(item) for item in (Acquaintance.TRAINED, Acquaintance.NEVER_SEEN, Acquaintance.UNKNOWN))
    if trained:
        return (
            f"{trained} of {trained + strange + untold} networks TRAINED this bundle: its figures on them show how well it remembers, not how well it "
            "predicts; for families it never saw run `stowplan evaluate` without --bundle"
        )
    if untold:
        return f"this bundle's manifest does not name what it was trained on: figures of {untold} networks may be of memory, not of prediction"
    return ""


def _bundle_document(found: "BundleJudgement", warning: str) -> dict[str, Any]:
    from stowplan_predictor.training.pages.tables import figure_document

    return {
        "bundle": found.label,
        "dataset": found.device,
        "warning": warning or None,
        "figures": [{"acquaintance": str(acquaintance), **figure_document(item)} for acquaintance, item in found.figures],
        "networks": [
            {
                "network": item.truth.network,
                "family": item.truth.family,
                "split": item.truth.split,
                "slice": item.truth.slice,
                "acquaintance": str(item.acquaintance),
                "measuredMilliseconds": item.truth.ms,
                "noisy": item.truth.noisy,
                "predictedMilliseconds": item.row.predicted_ms,
                "lowerMilliseconds": item.row.lower_ms,
                "upperMilliseconds": item.row.upper_ms,
                "unknown": item.row.reason or None,
            }
            for item in found.cases
        ],
    }


def _print_bundle(console: "Console", found: "BundleJudgement") -> None:
    from stowplan_predictor.training.pages.tables import main_table

    console.print(f"{found.label[:80]} on {found.device}", markup=False)
    _print_cells(console, main_table([item for _, item in found.figures], {}), 2)
    refused: dict[str, list[str]] = {}
    for item in found.cases:
        if item.row.reason:
            refused.setdefault(item.row.reason, []).append(f"{item.truth.network} on {item.truth.slice}")
    for reason, cases in sorted(refused.items()):
        console.print(f"cannot judge {', '.join(cases[:3])}{f' and {len(cases) - 3} more' if len(cases) > 3 else ''}: {reason}", markup=False)

"""`stowplan replay`: recorded decisions of an extender, made once more at a desk."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stowplan_cli import exits, outputs, placing, progresses, questions
from stowplan_cli.exits import Refused

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_extender.recordings import Record
    from stowplan_fleet.predictors import Predictor

# A recorder keeps 32 MiB unless told otherwise; beyond this it is no file of one.
_LARGEST_BYTES: Final = 1 << 30


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("replay")(replay)


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Decisions that an extender recorded (setting recording.directory): decisions.jsonl.")],
    *,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the bundle anew too, where it is the one that answered, about the models of --models.")] = False,
    models: placing.ModelsOption = None,
    bundle: questions.BundleOption = None,
    runtime: questions.RuntimeOption = questions.RUNTIME,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Decide recorded decisions anew from their inputs, and compare.

    The decision is replayed from the recorded answers of the predictor; with --ask those answers are predicted anew, too. Exit status 4 where anything
    comes out otherwise.
    """
    records = list(_records(file))
    with progresses.waiting("replaying"):
        rows = [_row(record) for record in records]
        if ask:
            asyncio.run(_ask(records, rows, _predictor(bundle, runtime), models, runtime))
    document = {"decisions": len(rows), "different": sum(bool(row["differences"]) for row in rows), "rows": rows}
    outputs.emit(document, output, lambda console: _print(console, document))
    if document["different"]:
        raise typer.Exit(exits.BROKEN)


def _records(file: Path) -> Iterator["Record"]:
    from stowplan_extender import recordings

    if file.stat().st_size > _LARGEST_BYTES:
        raise Refused(f"{file}: larger than {_LARGEST_BYTES >> 20} MiB; name a file that an extender recorded")
    found = False
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield recordings.read(line, f"{file}, line {number}")
                found = True
    if not found:
        raise Refused(f"{file}: no decision is recorded there")


def _row(record: "Record") -> dict[str, Any]:
    from stowplan_extender import recordings

    kinds = Counter(record.verdicts[number].kind for number in record.nodes.values() if number is not None and number < len(record.verdicts))
    return {
        "at": record.at,
        "verb": record.verb,
        "pod": record.pod,
        "nodes": len(record.nodes),
        "accepted": kinds["accepted"],
        "returned": record.returned[:16],
        "bundles": sorted({said.bundle for said in record.said if said.bundle}),
        "differences": recordings.replay(record, recordings.answers_of(record)),
        "asked": None,
    }


async def _ask(records: "list[Record]", rows: list[dict[str, Any]], predictor: "Predictor", models: Path | None, runtime: str) -> None:
    """Predicts every recorded answer anew, where the graphs are here and the bundle is the same; what differs joins the differences."""
    from stowplan_extender import recordings
    from stowplan_fleet.answers import UnknownReason
    from stowplan_fleet.errors import GraphRefused

    from stowplan_cli import modelfiles

    for path in sorted(set(modelfiles.index_models(models).values())):
        try:
            await predictor.analyze(path.read_bytes(), {})
        except GraphRefused as error:
            placing.say([f"{path}: {error}"])
    for record, row in zip(records, rows, strict=True):
        recorded = recordings.answers_of(record)
        asked = [inquiry for inquiry in recorded if inquiry.runtime == runtime]
        answers = await predictor.predict([inquiry.question for inquiry in asked], recordings.devices_of(record), runtime) if asked else ()
        same = 0
        for inquiry, answer in zip(asked, answers, strict=True):
            before = recorded[inquiry]
            if answer.bundle != before.bundle or answer.unknown_reason is UnknownReason.GRAPH_NOT_FOUND:
                continue
            same += 1
            if answer != before:
                row["differences"].append(f"the predictor said {_said(before)} of {inquiry.question.subject.slice_class}, and says {_said(answer)} now")
        row["asked"] = {"judgedAnew": same, "notHere": len(recorded) - same}


def _said(answer: Any) -> str:  # noqa: ANN401 - an answer, imported late
    return f"{answer.response.upper_ms!r} ms" if answer.response is not None else str(answer.unknown_reason or "overloaded")


def _predictor(bundle: Path | None, runtime: str) -> "Predictor":
    from stowplan_predictor.pipelines import Pipeline
    from stowplan_predictor.serving.local import LocalPredictor

    return LocalPredictor(Pipeline(questions.any_bundle(bundle, runtime)))


def _print(console: "Console", document: dict[str, Any]) -> None:
    rows = [
        [row["at"], row["verb"], row["pod"], str(row["nodes"]), str(row["accepted"]), "as recorded" if not row["differences"] else "DIFFERENT"]
        for row in document["rows"]
    ]
    outputs.print_rows(console, ["AT", "VERB", "POD", "NODES", "ACCEPTED", "NOW"], rows, left=3)
    for row in document["rows"]:
        for difference in row["differences"]:
            console.print(f"{row['at']} {row['verb']} {row['pod']}: {difference}", markup=False)
    console.print(f"{document['decisions']} decisions, {document['different']} come out otherwise")

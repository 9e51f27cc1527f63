"""`stowplan replay`: recorded decisions of an extender, made once more at a desk."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stowplan_cli.inputs import questions
from stowplan_cli.objects import clusters
from stowplan_cli.placements import placing
from stowplan_cli.terminal import exits, outputs, progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_extender.recording.recordings import Record
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
    cluster: clusters.FileOption = None,
    bundle: questions.BundleOption = None,
    runtime: questions.RuntimeOption = questions.RUNTIME,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Decide recorded decisions anew from their inputs, and compare.

    The decision is replayed from the recorded answers of the predictor; with --ask those answers are predicted anew, too: by the same bundle only, about the
    models of --models and of the services in the snapshot of --cluster, which knows the shapes of their inputs. Exit status 4 where anything comes out
    otherwise, 3 where nothing could be predicted anew.
    """
    records = list(_records(file))
    with progresses.waiting("replaying"):
        rows = [_row(record) for record in records]
        if ask:
            asyncio.run(_ask(records, rows, questions.opened_predictor(bundle, runtime), _graphs(models, cluster)))
            placing.say(_others(rows))
    document = {"decisions": len(rows), "different": sum(bool(row["differences"]) for row in rows), "rows": rows}
    outputs.emit(document, output, lambda console: _print(console, document))
    if document["different"]:
        raise typer.Exit(exits.BROKEN)
    if ask and not any(row["asked"]["judgedAnew"] for row in rows):
        raise typer.Exit(exits.CANNOT_JUDGE)


def _records(file: Path) -> Iterator["Record"]:
    from stowplan_extender.recording import recordings

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
    from stowplan_extender.recording import recordings

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


def _graphs(models: Path | None, cluster: Path | None) -> "list[tuple[str, bytes, dict[str, tuple[int, ...]]]]":
    """Model files with the shapes of their inputs: those of services in a snapshot, and any file of a directory, which binds nothing."""
    from stowplan_fleet.manifests.services import input_shapes_of

    from stowplan_cli.objects import modelfiles, snapshots

    indexed = modelfiles.index_models(models)
    found: list[tuple[str, bytes, dict[str, tuple[int, ...]]]] = [(str(path), path.read_bytes(), {}) for path in sorted(set(indexed.values()))]
    snapshot = snapshots.read_snapshot(cluster, None) if cluster is not None else snapshots.Snapshot()
    for name, manifest in snapshot.services.items():
        try:
            found.append((f"InferenceService {name}", modelfiles.model_of(manifest, indexed, snapshot.configmaps, None), input_shapes_of(manifest)))
        except Refused as error:
            placing.say([str(error)])
    return found


async def _ask(
    records: "list[Record]", rows: list[dict[str, Any]], predictor: "Predictor", graphs: "list[tuple[str, bytes, dict[str, tuple[int, ...]]]]"
) -> None:
    """Predicts every recorded answer anew, where the graphs are here and the bundle is the same; what differs joins the differences."""
    from stowplan_extender.recording import recordings
    from stowplan_fleet.answers import UnknownReason
    from stowplan_fleet.errors import GraphRefused

    for where, content, shapes in graphs:
        try:
            await predictor.analyze(content, shapes)
        except GraphRefused as error:
            placing.say([f"{where}: {error}"])
    for record, row in zip(records, rows, strict=True):
        recorded = recordings.answers_of(record)
        told = Counter[str]()
        others: set[str] = set()
        for runtime in dict.fromkeys(inquiry.runtime for inquiry in recorded):
            asked = [inquiry for inquiry in recorded if inquiry.runtime == runtime]
            answers = await predictor.predict([inquiry.question for inquiry in asked], recordings.devices_of(record), runtime)
            for inquiry, answer in zip(asked, answers, strict=True):
                before = recorded[inquiry]
                if answer.bundle != before.bundle:
                    told["byAnotherBundle"] += 1
                    others.add(f"{before.bundle or 'no bundle'} answered, and here is {answer.bundle}")
                elif answer.unknown_reason is UnknownReason.GRAPH_NOT_FOUND:
                    told["notHere"] += 1
                else:
                    told["judgedAnew"] += 1
                    if answer != before:
                        row["differences"].append(f"the predictor said {_said(before)} of {inquiry.question.subject.slice_class}, and says {_said(answer)} now")
        row["asked"] = {key: told[key] for key in ("judgedAnew", "notHere", "byAnotherBundle")} | {"bundles": sorted(others)}


def _others(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Why answers were not predicted anew."""
    other = sorted({text for row in rows for text in row["asked"]["bundles"]})
    missing = sum(row["asked"]["notHere"] for row in rows)
    notes = [f"{text}: such answers are not predicted anew; name the recorded bundle with --bundle" for text in other]
    return [*notes, *([f"{missing} answers are about models that are not here: name them with --models, or a snapshot with --cluster"] if missing else [])]


def _said(answer: Any) -> str:  # noqa: ANN401 - an answer, imported late
    return f"{answer.response.upper_ms!r} ms" if answer.response is not None else str(answer.unknown_reason or "overloaded")


def _print(console: "Console", document: dict[str, Any]) -> None:
    rows = [
        [row["at"], row["verb"], row["pod"], str(row["nodes"]), str(row["accepted"]), "as recorded" if not row["differences"] else "DIFFERENT", *_asked(row)]
        for row in document["rows"]
    ]
    asked = ["PREDICTED ANEW"] if any(row["asked"] for row in document["rows"]) else []
    outputs.print_rows(console, ["AT", "VERB", "POD", "NODES", "ACCEPTED", "NOW", *asked], rows, left=3)
    for row in document["rows"]:
        for difference in row["differences"]:
            console.print(f"{row['at']} {row['verb']} {row['pod']}: {difference}", markup=False)
    console.print(f"{document['decisions']} decisions, {document['different']} come out otherwise")


def _asked(row: dict[str, Any]) -> list[str]:
    asked = row["asked"]
    return [] if asked is None else [f"{asked['judgedAnew']} of {asked['judgedAnew'] + asked['notHere'] + asked['byAnotherBundle']}"]

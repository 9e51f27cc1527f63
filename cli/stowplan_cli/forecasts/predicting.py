"""`stowplan predict`: how long one inference takes on slices of a device."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli.inputs import gpus, hosts, models, questions
from stowplan_cli.terminal import exits, outputs

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_fleet.answers import Answer
    from stowplan_fleet.slices import Slice

SlicesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        metavar="cpu:2|mig-1g.10gb|mps-25|full",
        help="Slice to predict for; may be repeated. The device's usual ones where not given.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("predict")(predict)


def predict(
    model: models.ModelArgument,
    *,
    shapes: models.ShapeOption = None,
    device: hosts.AnyDeviceOption = hosts.HOST,
    slices: SlicesOption = None,
    bundle: questions.BundleOption = None,
    runtime: questions.DeviceRuntimeOption = None,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Predict the latency of a model on slices of a device, alone.

    Exit status 3 where any of the slices cannot be judged; the reason stands beside it.
    """
    from stowplan_fleet.slices import parse_slice

    for text in slices or []:
        parse_slice(text)
    desk = questions.prepared(model, shapes, device, bundle, runtime)
    wanted = questions.parsed_slices(slices, desk.device)
    answers = ask(desk, wanted)
    document = {**desk.document, "predictions": [prediction(part, answer) for part, answer in zip(wanted, answers, strict=True)]}
    outputs.emit(document, output, lambda console: _print(console, document, answers, _resources(desk, wanted)))
    if any(item["unknown"] is not None for item in document["predictions"]):
        raise typer.Exit(exits.CANNOT_JUDGE)


def ask(desk: questions.Desk, wanted: list["Slice"]) -> list["Answer"]:
    """Answers to how long one inference takes on each slice with nobody beside it and nobody waiting."""
    from stowplan_fleet.questions import Occupant, Question
    from stowplan_fleet.slices import SliceClass

    asked = [Question(Occupant(desk.summary.graph_digest, SliceClass(desk.device.name, part), requests_per_second=0.0)) for part in wanted]
    return desk.pipeline.predict(asked, {desk.device.name: desk.device}, desk.pipeline.bundle.manifest.runtime)


def prediction(part: "Slice", answer: "Answer") -> dict[str, Any]:
    """One element of `predictions`."""
    alone = answer.isolated
    known = alone is not None and answer.unknown_reason is None
    return {
        "slice": str(part),
        "latencyMilliseconds": {"median": alone.median_ms, "lower": alone.lower_ms, "upper": alone.upper_ms, "coverage": alone.coverage}
        if alone is not None and known
        else None,
        "basis": str(answer.basis),
        "unknown": None if known else f"{answer.unknown_reason}: {answer.message}",
    }


def _resources(desk: questions.Desk, wanted: list["Slice"]) -> list[str] | None:
    """What each slice of a GPU has; None for CPUs, whose slices say it themselves."""
    from stowplan_fleet.devices import CpuDevice

    device = desk.device
    return None if isinstance(device, CpuDevice) else [gpus.resources(device, part) for part in wanted]


def _print(console: "Console", document: dict[str, Any], answers: list["Answer"], resources: list[str] | None) -> None:
    model = document["model"]
    console.print(
        f"{model['operators']} operators in {model['kernels']} kernels, {outputs.counted(model['flops'])}FLOP, "
        f"{outputs.counted(model['parameters'])} parameters; "
        f"on {document['device']['name']}, by {document['bundle']['name']} {document['bundle']['version'][:19]}",
        markup=False,
    )
    rows = []
    for item in document["predictions"]:
        latency = item["latencyMilliseconds"]
        if latency is None:
            rows.append([item["slice"], item["basis"], "unknown", "", ""])
        else:
            low, high = (outputs.milliseconds(latency[key]) for key in ("lower", "upper"))
            rows.append([item["slice"], item["basis"], outputs.milliseconds(latency["median"]), f"{low} to {high}", f"{latency['coverage']:.0%}"])
    headings = ["SLICE", "BASIS", "MEDIAN MS", "INTERVAL MS", "COVERAGE"]
    if resources is not None:
        headings.insert(1, "HAS")
        for row, text in zip(rows, resources, strict=True):
            row.insert(1, text)
    outputs.print_rows(console, headings, rows, left=len(headings) - 3)
    # Slices that share their reason share its line.
    reasons: dict[str, list[str]] = {}
    for item, answer in zip(document["predictions"], answers, strict=True):
        if answer.message:
            reasons.setdefault(item["unknown"] or answer.message, []).append(item["slice"])
    for reason, slices in reasons.items():
        console.print(f"{', '.join(slices)}: {reason}", markup=False)

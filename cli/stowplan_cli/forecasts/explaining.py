"""`stowplan explain`: which kernels a predicted latency is made of."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli.inputs import hosts, models, questions
from stowplan_cli.terminal import outputs

if TYPE_CHECKING:
    from rich.console import Console

# Cells of the bar that shows the share; a tenth of a terminal's width.
_BAR_CELLS = 12


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("explain")(explain)


def explain(
    model: models.ModelArgument,
    *,
    part: Annotated[str, typer.Option("--slice", metavar="cpu:1", help="Slice to explain.")] = "cpu:1",
    shapes: models.ShapeOption = None,
    device: hosts.AnyDeviceOption = hosts.HOST,
    bundle: questions.BundleOption = None,
    runtime: questions.DeviceRuntimeOption = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Kernels that the table shows; JSON and YAML have all.")] = 20,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Show the kernels of a model by their share of its predicted time."""
    from stowplan_fleet.slices import SliceClass, parse_slice

    where = parse_slice(part)
    desk = questions.prepared(model, shapes, device, bundle, runtime)
    questions.parsed_slices([part], desk.device)
    shares = desk.pipeline.explain(desk.summary.graph_digest, SliceClass(desk.device.name, where), {desk.device.name: desk.device})
    kernels = [
        {"name": item.name, "type": item.type, "milliseconds": item.latency_ms, "share": item.share, "flops": item.flops, "bytes": item.bytes}
        for item in shares
    ]
    document = {**desk.document, "slice": str(where), "kernels": kernels}
    outputs.emit(document, output, lambda console: _print(console, document, top))


def _print(console: "Console", document: dict[str, Any], top: int) -> None:
    kernels = document["kernels"]
    total = sum(item["milliseconds"] for item in kernels)
    console.print(
        f"{outputs.milliseconds(total)} ms in {len(kernels)} kernels on {document['device']['name']}/{document['slice']}, "
        f"by {document['bundle']['name']} {document['bundle']['version'][:19]}",
        markup=False,
    )
    rows, seen = [], 0.0
    for item in kernels[:top]:
        seen += item["share"]
        bar = "#" * round(_BAR_CELLS * item["share"] / max(kernels[0]["share"], 1e-9))
        rows.append([item["name"], item["type"], bar, f"{item['share']:.1%}", f"{seen:.1%}", outputs.milliseconds(item["milliseconds"]), *_amounts(item)])
    outputs.print_rows(console, ["KERNEL", "TYPE", "", "SHARE", "SUM", "MS", "FLOP", "BYTES"], rows, left=3)
    if len(kernels) > top:
        rest = kernels[top:]
        share = sum(item["share"] for item in rest)
        console.print(f"and {len(rest)} more kernels with {share:.1%} of the time (--top {len(kernels)} shows them)", markup=False)


def _amounts(item: dict[str, Any]) -> tuple[str, str]:
    return outputs.counted(item["flops"]), outputs.counted(item["bytes"])

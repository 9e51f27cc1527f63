"""`stowplan profile`: which kernels the runtime really runs for a model on this machine, and how long each takes; or a whole campaign on a GPU."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli.inputs import models, questions
from stowplan_cli.measurements import campaigning, measuring
from stowplan_cli.terminal import files, outputs, progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_predictor.measuring.profiles import KernelProfile


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("profile")(profile)


def profile(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL.onnx]", help="ONNX file; none for a campaign on a GPU.", show_default=False)] = None,
    *,
    part: Annotated[str, typer.Option("--slice", metavar="cpu:1", help="Slice to measure on: whole cores.")] = "cpu:1",
    shapes: models.ShapeOption = None,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Also add the profile to this folder, a file each.", show_default=False)] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Kernels that the table shows; JSON and YAML have all.")] = 20,
    runtime: Annotated[str, typer.Option("--runtime", help="onnxruntime-cpu; torch-inductor or torch-eager for a campaign on a GPU.")] = questions.RUNTIME,
    device: Annotated[str, typer.Option("--device", metavar="host|cuda", help="This machine's CPU, or its first NVIDIA GPU.")] = "host",
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Folder that a campaign adds to.", show_default=False)] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="Longest slice of work of a campaign; run again to go on (exit status 75).")] = 8.0,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what a campaign would measure; needs no GPU.")] = False,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Measure a model kernel by kernel on a slice of this machine, or run the campaign on its GPU.

    A model: once end to end without the profiler, then with it; the profiler adds about a microsecond to each kernel. The campaign
    (--runtime torch-inductor --device cuda --to DIR): networks and random kernels, their fusion as the compiler tells it, parts of the GPU, neighbours.
    """
    if runtime != questions.RUNTIME:
        if model is not None:
            raise Refused(f"{model}: a campaign under {runtime} measures networks of its own; leave the model out")
        campaigning.run(runtime, device, to, minutes, plan=plan, output=output)
        return
    if model is None:
        raise typer.BadParameter("name the model to profile, or --runtime torch-inductor --device cuda for a campaign", param_hint="MODEL.onnx")
    if device != "host":
        raise Refused(f"--device {device}: {runtime} runs on this machine's CPU; for a GPU name --runtime torch-inductor or torch-eager")
    from stowplan_fleet.slices import parse_slice
    from stowplan_predictor.graphs.loading import model_digest
    from stowplan_predictor.measuring.networks import SampleRules
    from stowplan_predictor.measuring.profiles import profile_kernels

    where = parse_slice(part)
    if where.cpu_millicores % 1000:
        raise Refused(f"--slice {part}: under a quota kernels are stopped at random and their times say nothing; profile on whole cores")
    bound = models.parse_shapes(shapes)
    content = models.read_model(model)
    if keep is not None and not keep.is_dir():
        raise Refused(f"--keep {keep}: no such directory; make it first")
    with progresses.waiting(f"profiling on {where}", SampleRules().budget_s) as say:
        # The path, not the bytes: weights in external files lie beside it.
        found = profile_kernels(model, where, bound, on_wait=say)
    document = {"model": {"digest": model_digest(content)}, **described(found)}
    if keep is not None:
        _add(keep, document)
    outputs.emit(document, output, lambda console: _print(console, document, top))


def described(found: "KernelProfile") -> dict[str, Any]:
    """A profile as plain JSON, kernels in the order in which they ran."""
    total = sum(kernel.median_us for kernel in found.kernels)
    return {
        "endToEnd": measuring.measurement(found.end_to_end),
        "kernelsMilliseconds": found.sum_ms,
        "kernels": [
            {
                "name": kernel.node,
                "type": kernel.op_type,
                "domain": kernel.domain,
                "outputs": list(kernel.outputs),
                "provider": kernel.provider,
                "microseconds": {"median": kernel.median_us, "p25": kernel.p25_us, "p75": kernel.p75_us},
                "share": kernel.median_us / total if total else 0.0,
                "runs": kernel.runs,
            }
            for kernel in found.kernels
        ],
    }


def _add(folder: Path, document: dict[str, Any]) -> None:
    """One file a profile, named by model, slice and time; a second one in the same second gets a number."""
    measured = document["endToEnd"]
    stem = f"{document['model']['digest'].removeprefix('sha256:')[:12]}-{measured['slice'].replace(':', '')}-{measured['measuredAt'].replace(':', '')}"
    path, number = folder / f"{stem}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.json"
    files.write_whole(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def _print(console: "Console", document: dict[str, Any], top: int) -> None:
    measured, kernels = document["endToEnd"], document["kernels"]
    median_ms, sum_ms = measured["latencyMilliseconds"]["median"], document["kernelsMilliseconds"]
    console.print(
        f"{outputs.milliseconds(median_ms)} ms end to end on {measured['slice']} ({'noisy' if measured['noisy'] else 'quiet'} machine); "
        f"{len(kernels)} kernels sum to {outputs.milliseconds(sum_ms)} ms with the profiler, {sum_ms / median_ms - 1:+.1%}",
        markup=False,
    )
    longest = sorted(kernels, key=lambda kernel: -kernel["microseconds"]["median"])
    rows, seen = [], 0.0
    for kernel in longest[:top]:
        seen += kernel["share"]
        times = kernel["microseconds"]
        spread = f"{times['p25']:.1f} to {times['p75']:.1f}"
        rows.append([kernel["name"], kernel["type"], f"{times['median']:.1f}", spread, f"{kernel['share']:.1%}", f"{seen:.1%}"])
    outputs.print_rows(console, ["KERNEL", "TYPE", "MEDIAN US", "MIDDLE HALF", "SHARE", "SUM"], rows, left=2)
    if len(longest) > top:
        rest = sum(kernel["share"] for kernel in longest[top:])
        console.print(f"and {len(longest) - top} more kernels with {rest:.1%} of the time (--top {len(longest)} shows them)", markup=False)

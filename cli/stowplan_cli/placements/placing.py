"""`stowplan place`: where services would run in a cluster, asked at a desk."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli.inputs import questions
from stowplan_cli.terminal import exits, outputs, progresses

if TYPE_CHECKING:
    from rich.console import Console

    from stowplan_cli.objects.snapshots import Snapshot
    from stowplan_cli.simulating.simulations import Placed, Unplaced

ServicesOption = Annotated[Path, typer.Option("--filename", "-f", metavar="services.yaml", help="InferenceServices to place, in this order.")]
ClusterOption = Annotated[
    Path, typer.Option("--cluster", metavar="snapshot.yaml", help="What kubectl get nodes,pods,inferenceservices.stowplan.dev,configmaps -A -o yaml prints.")
]
ModelsOption = Annotated[Path | None, typer.Option("--models", metavar="DIR", help="ONNX files; found by digest.", show_default=False)]
DevicesOption = Annotated[Path | None, typer.Option("--devices", metavar="DIR", help="Files NAME.json of `stowplan device`.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("place")(place)


def place(
    services: ServicesOption,
    cluster: ClusterOption,
    *,
    models: ModelsOption = None,
    devices: DevicesOption = None,
    bundle: questions.BundleOption = None,
    runtime: questions.RuntimeOption = questions.RUNTIME,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Say where services would run in a cluster, and why not elsewhere; nothing is changed anywhere.

    The operator's sizing and the extender's decision are called as they run in a cluster. A service that the snapshot holds too is taken to be
    deployed anew: its pods there do not count. Exit status 3 where nothing could be predicted for a service that found no place.
    """
    from stowplan_cli.objects import snapshots

    place_in(snapshots.read_snapshot(cluster, devices), services, models, bundle=bundle, runtime=runtime, output=output)


def place_in(snapshot: "Snapshot", services: Path, models: Path | None, *, bundle: Path | None, runtime: str, output: outputs.Format) -> None:
    """Places services in a cluster that was read, and prints where.

    Raises:
        typer.Exit: nothing could be predicted for a service that found no place.
    """
    from stowplan_cli.simulating import stages

    stage = stages.prepare(services, snapshot, models)
    say(stage.notes)
    with progresses.waiting("placing"):
        outcome = asyncio.run(stages.run(stage, questions.opened_predictor(bundle, runtime)))
    say(outcome.notes)
    outputs.emit(document_of(outcome.placed, outcome.unplaced), output, lambda console: _print(console, outcome.placed, outcome.unplaced))
    if any(not item.judged for item in outcome.unplaced):
        raise typer.Exit(exits.CANNOT_JUDGE)


def say(notes: Sequence[str]) -> None:
    """Notes on stderr, one a line; what is no character of the terminal's is escaped."""
    for note in notes:
        sys.stderr.write(f"stowplan: {exits.plain(note)}\n")


def document_of(placed: Sequence["Placed"], unplaced: Sequence["Unplaced"]) -> dict[str, Any]:
    """The result; its keys are a contract."""
    return {
        "placements": [
            {
                "service": item.service,
                "replica": item.replica,
                "node": item.node,
                "slice": str(item.slice_class.slice),
                "predictedMilliseconds": item.predicted_ms,
                "sloMilliseconds": item.slo_ms,
                "basis": str(item.basis),
                "because": item.message,
            }
            for item in placed
        ],
        "unplaced": [{"service": item.service, "replica": item.replica, "reasons": dict(sorted(item.reasons.items()))} for item in unplaced],
    }


def _print(console: "Console", placed: Sequence["Placed"], unplaced: Sequence["Unplaced"]) -> None:
    rows = [
        [
            item.service,
            str(item.replica),
            item.node,
            str(item.slice_class),
            "unknown" if item.predicted_ms is None else outputs.milliseconds(item.predicted_ms),
            outputs.milliseconds(item.slo_ms),
            str(item.basis),
        ]
        for item in placed
    ]
    if rows:
        outputs.print_rows(console, ["SERVICE", "REPLICA", "NODE", "SLICE", "PREDICTED MS", "OBJECTIVE MS", "BASIS"], rows, left=4)
    # Services that share their reason share its line.
    reasons: dict[str, dict[str, None]] = {}
    for place in placed:
        if place.message:
            reasons.setdefault(f"{place.basis}: {place.message}", {})[place.service] = None
    for reason, services in reasons.items():
        console.print(f"{', '.join(services)}: {reason}", markup=False)
    for item in unplaced:
        console.print(f"\n{item.service}, replica {item.replica}: no place", markup=False)
        # Nodes of a kind share their reason: one line a reason, as the scheduler's event has it.
        by_text: dict[str, list[str]] = {}
        for node, text in sorted(item.reasons.items()):
            by_text.setdefault(text, []).append(node)
        for text, nodes in by_text.items():
            shown = ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
            console.print(f"  {shown}: {text}", markup=False)

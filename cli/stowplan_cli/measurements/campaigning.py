"""`stowplan profile --runtime torch-inductor --device cuda`: the measuring campaign on an NVIDIA GPU, one slice of work at a time."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from stowplan_cli.terminal import exits, outputs, progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_predictor.training.cuda.campaigns import Progress

DEVICE: Final = "cuda"
# The longest slice of work: under nine minutes, the start of processes and the cut-off of a unit under way included.
_LONGEST_MINUTES: Final = 8.5


def run(runtime: str, device: str, to: Path | None, minutes: float, *, plan: bool, output: outputs.Format) -> None:
    """One slice of work, or the plan.

    Raises:
        Refused: the runtime, the device or the folder is not acceptable.
        DeviceUnavailable: this machine has no GPU that can be measured.
        typer.Exit: time was over before the plan was done.
    """
    from stowplan_predictor.training.cuda import plans

    if runtime not in plans.RUNTIMES:
        raise Refused(f"--runtime {runtime}: no such runtime; name onnxruntime-cpu, {' or '.join(plans.RUNTIMES)}")
    if device != DEVICE:
        raise Refused(f"--device {device}: {runtime} is measured on a GPU; name --device {DEVICE}")
    if plan:
        document = _planned(runtime)
        outputs.emit(document, output, lambda console: _print_plan(console, document))
        return
    if to is None:
        raise Refused("--to is missing: name the folder that measurements are added to, such as datasets/cuda/NVIDIA-H200")
    if not 0 < minutes <= _LONGEST_MINUTES:
        raise Refused(f"--minutes {minutes:g}: a slice of work takes at most {_LONGEST_MINUTES:g} minutes; run the command again to go on")
    from stowplan_predictor.training.cuda import campaigns

    machine = campaigns.probe()
    sys.stderr.write(f"stowplan: {machine.gpu.name}, driver {machine.gpu.driver}, torch {machine.torch.version}\n")
    for part, reason in sorted(machine.skips.items()):
        sys.stderr.write(f"stowplan: left out: {part}: {exits.plain(reason)}\n")
    with progresses.counting("measuring") as advance:
        progress = campaigns.run(runtime, to, machine, minutes=minutes, advance=advance)
    report = document_of(progress, runtime, to)
    outputs.emit(report, output, lambda console: _print(console, report))
    if progress.planned == 0:
        raise Refused(f"nothing of {runtime} can be measured here: {machine.skips.get('inductor', 'see what was left out above')}")
    if progress.left and not progress.exhausted:
        raise typer.Exit(exits.UNFINISHED)


def _planned(runtime: str) -> dict[str, Any]:
    """The plan, and how much of it the budget is expected to hold."""
    from stowplan_predictor.training.cuda import campaigns, plans

    planned = plans.plan(runtime, {"green": "not needed where MPS is"})
    lanes = plans.lanes_of(campaigns.cores())
    count = plans.within(planned, campaigns.MINUTES_IN_ALL, lanes)
    return {
        "runtime": runtime,
        "budgetMinutes": campaigns.MINUTES_IN_ALL,
        "preparedAtATime": lanes,
        "expectedMinutes": round(sum(unit.expected_s(lanes) for unit in planned[:count]) / 60, 1),
        "units": [{"unit": unit.key, "expectedSeconds": unit.expected_s(lanes), "withinBudget": position < count} for position, unit in enumerate(planned)],
    }


def document_of(progress: "Progress", runtime: str, folder: Path) -> dict[str, Any]:
    """What a slice of work came to; its keys are a contract."""
    dataset = progress.dataset
    own = {key: outcome for key, outcome in dataset.units.items() if key.startswith(f"{runtime}/")}
    return {
        "device": dataset.product,
        "runtime": runtime,
        "folder": str(folder),
        "planned": progress.planned,
        "done": progress.done,
        "left": progress.left,
        "timeIsSpent": progress.exhausted,
        "minutesSpent": round(dataset.seconds_spent(runtime) / 60, 2),
        "rows": {name: len(rows) for name, rows in dataset.rows.items()},
        "failed": {key: outcome.reason for key, outcome in own.items() if outcome.status == "failed"},
        "leftOut": dict(sorted(dataset.skips.items())),
    }


def _print(console: "Console", report: dict[str, Any]) -> None:
    rows = ", ".join(f"{count} {name}" for name, count in report["rows"].items())
    console.print(
        f"{report['device']}, {report['runtime']}: {report['done']} of {report['planned']} units done in {report['minutesSpent']} minutes; "
        f"{rows} in {report['folder']}",
        markup=False,
    )
    for key, reason in report["failed"].items():
        console.print(f"failed: {key}: {reason}", markup=False)
    if report["left"]:
        next_step = "the campaign's time is spent" if report["timeIsSpent"] else "run the same command again to go on"
        console.print(f"{report['left']} units left: {next_step}", markup=False)


def _print_plan(console: "Console", document: dict[str, Any]) -> None:
    rows = [[unit["unit"], f"{unit['expectedSeconds']:.0f}", "" if unit["withinBudget"] else "if time is left"] for unit in document["units"]]
    outputs.print_rows(console, ["UNIT", "SECONDS", ""], rows)
    within = sum(unit["withinBudget"] for unit in document["units"])
    console.print(
        f"{within} of {len(rows)} units in about {document['expectedMinutes']} of {document['budgetMinutes']} minutes; networks made ready at a time: "
        f"{document['preparedAtATime']}. Seconds are guesses until a GPU was measured; the budget ends the campaign whatever is left",
        markup=False,
    )

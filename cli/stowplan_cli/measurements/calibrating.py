"""`stowplan calibrate`: a bundle adapted to this machine by twenty measured anchor kernels."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stowplan_cli.inputs import hosts, questions
from stowplan_cli.terminal import outputs, progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_fleet.devices import CpuDevice
    from stowplan_fleet.slices import Slice
    from stowplan_predictor.training.calibration.calibrations import Calibration

# Two slices of twenty anchors; only for the progress bar.
_USUAL_SECONDS: Final = 40.0


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("calibrate")(calibrate)


def calibrate(
    *,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the adapted bundle is written.", show_default=False)],
    bundle: questions.BundleOption = None,
    runtime: questions.RuntimeOption = questions.RUNTIME,
    device: hosts.DeviceOption = hosts.HOST,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", metavar="cpu:2", help="Whole cores to measure on; one and all cores where not given.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is already there.")] = False,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Adapt a bundle to this machine: under a minute of measuring instead of a data set and a training.

    Only the anchors are measured here: every answer for this machine stays `extrapolated`, with wider intervals.
    """
    from stowplan_predictor.fusion.serving import open_fusion
    from stowplan_predictor.training.calibration import anchor_readings, calibrations

    opened = questions.opened_bundle(bundle, runtime)
    base = bundle or _shipped(runtime)
    _check_target(to, base, force=force)
    described = hosts.device_named(device)
    _check_device(described, [known.name for known in opened.devices])
    parts = _parts(slices, described)
    with progresses.waiting("calibrating", _USUAL_SECONDS) as say:
        readings = anchor_readings.read_anchors(described, open_fusion(opened.fusion), parts, on_wait=say)
    found = calibrations.fit(readings, opened, described)
    version = calibrations.write(base, described, found, to, _made())
    document = {
        "bundle": {"directory": str(to), "name": opened.manifest.name, "version": version, "base": opened.manifest.version},
        "device": str(described.name),
        "nearestDevice": found.base_device,
        "anchors": len(found.anchors),
        "readings": found.readings,
        "meanAbsoluteLogError": {"before": found.before_log_error, "after": found.after_log_error},
    }
    outputs.emit(document, output, lambda console: _print(console, document, found))


def _shipped(runtime: str) -> Path:
    """Where the bundle lies that this package carries for a runtime."""
    return Path(str(resources.files("stowplan_predictor") / "shipped" / runtime))


def _made() -> dict[str, str]:
    from importlib.metadata import version

    from stowplan_predictor.measuring.processes import now_utc

    return {"at": now_utc(), **{name: version(name) for name in ("onnxruntime", "stowplan")}}


def _check_target(to: Path, base: Path, *, force: bool) -> None:
    """Refuses a target that would destroy something, before a minute is spent."""
    from stowplan_predictor.bundles.manifests import MANIFEST

    if not to.absolute().parent.is_dir():
        raise Refused(f"--to {to}: no such directory above it; make it first")
    if not to.exists():
        return
    if to.resolve() == base.resolve():
        raise Refused(f"--to {to}: is the bundle itself; name another directory")
    if not to.is_dir() or (any(to.iterdir()) and not (to / MANIFEST).is_file()):
        raise Refused(f"--to {to}: holds something else than a bundle; name another directory")
    if any(to.iterdir()) and not force:
        raise Refused(f"--to {to}: holds a bundle already; name another directory, or replace it with --force")


def _check_device(described: "CpuDevice", known: Sequence[str]) -> None:
    """Refuses what would teach the bundle wrong things of a machine."""
    from stowplan_predictor.measuring import devices

    here, _ = devices.parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    if described.model != here:
        raise Refused(f"--device: describes {described.model!r}, but anchors are measured on this machine, {here!r}; run it there")
    if described.name in known:
        raise Refused(f"--device: the bundle was trained on {described.name} and needs no anchors there; `stowplan device --name` names another machine")


def _parts(slices: Sequence[str] | None, described: "CpuDevice") -> list["Slice"]:
    """Whole cores to measure on."""
    from stowplan_fleet.slices import cpu_slice, parse_slice

    counts = sorted(item.cores for item in described.throughputs)
    parts = [parse_slice(text) for text in slices] if slices else [cpu_slice(cores * 1000) for cores in {counts[0], counts[-1]}]
    for part in parts:
        if part.cpu_millicores % 1000:
            raise Refused(f"--slice {part}: anchors are measured on whole cores; a quota follows from them")
    return sorted(set(parts), key=lambda part: part.cpu_millicores)


def _print(console: "Console", document: dict[str, Any], found: "Calibration") -> None:
    written, errors = document["bundle"], document["meanAbsoluteLogError"]
    console.print(f"{written['directory']}: {written['name']} {written['version'][:19]}, which knows {document['device']} too", markup=False)
    console.print(
        f"{document['anchors']} anchors, {document['readings']} readings; they were off by {errors['before']:.3f} (mean absolute logarithm) as predicted for "
        f"{document['nearestDevice']}, {errors['after']:.3f} with what was learned from the other anchors",
        markup=False,
    )
    rows = [[count, f"{offset.heavy:+.3f}", f"{offset.light:+.3f}"] for count, offset in sorted(found.offsets.items())]
    outputs.print_rows(console, ["THREADS", "HEAVY", "LIGHT"], rows)

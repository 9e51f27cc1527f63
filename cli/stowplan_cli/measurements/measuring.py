"""`stowplan device` and `stowplan measure`: what this machine is, and what a model really takes on it."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli.inputs import hosts, models
from stowplan_cli.terminal import outputs, progresses

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_fleet.devices import CpuDevice
    from stowplan_predictor.measuring.networks import NetworkMeasurement


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("device")(device)
    app.command("measure")(measure)


def device(
    name: Annotated[str | None, typer.Option("--name", help="Name of the device; made of the CPU's model where not given.", show_default=False)] = None,
    cached: Annotated[bool, typer.Option("--cached", help="Print what was measured before; measure only where nothing was.")] = False,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Measure this machine (under 20 s) and print its descriptor.

    The JSON is what `--device`, and a ConfigMap of device descriptors in a cluster, take.
    """
    import msgspec
    from stowplan_fleet.descriptors import write_device
    from stowplan_fleet.slices import is_device_name

    if name is not None and not is_device_name(name):
        raise typer.BadParameter(f"{name[:64]!r} is not a label value; use letters, digits, dots, dashes, underscores", param_hint="--name")
    known = hosts.cached_host() if cached and name is None else None
    measured = known or hosts.measure_host(name)
    outputs.emit(msgspec.json.decode(write_device(measured)), output, lambda console: _print_device(console, measured))


def measure(
    model: models.ModelArgument,
    *,
    slices: Annotated[list[str], typer.Option("--slice", metavar="cpu:1", help="CPU slice to measure on; may be repeated.", show_default=False)],
    shapes: models.ShapeOption = None,
    runs: Annotated[int, typer.Option("--runs", min=30, max=100_000, help="Least number of runs.")] = 30,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Measure the latency of a model on CPU slices of this machine, alone.

    Repeated while others disturb it, at most five times, then marked noisy.
    """
    from stowplan_fleet.slices import parse_slice
    from stowplan_predictor.graphs.loading import model_digest
    from stowplan_predictor.measuring.networks import SampleRules, measure_network

    wanted = list(dict.fromkeys(parse_slice(text) for text in slices))
    bound = models.parse_shapes(shapes)
    content = models.read_model(model)
    found = []
    for part in wanted:
        with progresses.waiting(f"measuring on {part}", SampleRules().budget_s) as say:
            # The path, not the bytes: weights in external files lie beside it.
            found.append(measure_network(model, part, bound, rules=SampleRules(min_runs=runs), on_wait=say))
    document = {"model": {"digest": model_digest(content)}, "measurements": [measurement(item) for item in found]}
    outputs.emit(document, output, lambda console: _print_measurements(console, found))


def measurement(item: "NetworkMeasurement") -> dict[str, Any]:
    """One element of `measurements`."""
    times = item.distribution
    return {
        "slice": str(item.slice),
        "threads": item.threads,
        "runs": times.runs,
        "latencyMilliseconds": {
            "median": times.median_ms,
            "mean": times.mean_ms,
            "p5": times.p5_ms,
            "p25": times.p25_ms,
            "p75": times.p75_ms,
            "p95": times.p95_ms,
            "p99": times.p99_ms,
        },
        "coefficientOfVariation": times.cv,
        "foreignShare": item.foreign_share,
        "stealShare": item.steal_share,
        "attempts": item.attempts,
        "noisy": item.noisy,
        "measuredAt": item.measured_at,
        "runtimeVersion": item.runtime_version,
    }


def _print_device(console: "Console", device: "CpuDevice") -> None:
    caches = ", ".join(f"L{level} {size / 2**20:.3g} MiB" for level, size in ((1, device.l1d_bytes), (2, device.l2_bytes), (3, device.l3_bytes)))
    console.print(f"{device.name}: {device.model}, {device.cores} cores, {caches}\n{' '.join(device.isa)}", markup=False)
    rows = [[str(item.cores), f"{item.flops_per_second / 1e9:.1f}", f"{item.bandwidth_bytes_per_second / 1e9:.1f}"] for item in device.throughputs]
    outputs.print_rows(console, ["CORES", "GFLOP/S", "GB/S"], rows)
    rows = [[op_type, f"{cost:.2f}"] for op_type, cost in sorted(device.dispatch_us.items())]
    outputs.print_rows(console, ["OPERATOR", "DISPATCH US"], rows)


def _print_measurements(console: "Console", found: list["NetworkMeasurement"]) -> None:
    rows = [
        [
            str(item.slice),
            "noisy" if item.noisy else "quiet",
            *(outputs.milliseconds(value) for value in (item.distribution.median_ms, item.distribution.p95_ms, item.distribution.p99_ms)),
            f"{item.distribution.cv:.1%}",
            str(item.distribution.runs),
            str(item.attempts),
        ]
        for item in found
    ]
    outputs.print_rows(console, ["SLICE", "MACHINE", "MEDIAN MS", "P95 MS", "P99 MS", "VARIATION", "RUNS", "ATTEMPTS"], rows, left=2)

"""The campaign: probes, plans, and runs unit after unit in worker processes until its time is over; what was kept is never measured again.

This process never loads torch: a GPU that hangs or a library that dies takes a worker with it, and its unit counts as failed, with the reason.
"""

import importlib.metadata
import math
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from stowplan_predictor.errors import DatasetRefused, DeviceUnavailable, MeasurementError
from stowplan_predictor.measuring.processes import Worker, now_utc
from stowplan_predictor.training.cuda import machines, partitions, plans, tables, units
from stowplan_predictor.training.cuda.machines import Machine
from stowplan_predictor.training.cuda.plans import Unit
from stowplan_predictor.training.cuda.rows import AnyRow, NetworkRow
from stowplan_predictor.training.cuda.tables import GpuDataset, Outcome
from stowplan_predictor.training.cuda.units import Start

# A slice of work ends before this many minutes, and all slices of a runtime together before that many.
MINUTES: Final = 8.0
MINUTES_IN_ALL: Final = 24.5
_MODULE: Final = "stowplan_predictor.training.cuda.workers"
_DESCRIBE_TIMEOUT_S: Final = 90.0
# A unit that is under way when its time is over may take so much longer before it is cut off: a slice of work then ends below nine minutes.
_GRACE_S: Final = 15.0
# Sums of outputs of one network on two partitions agree this closely where the libraries compute right (float32, thousands of elements).
_OUTPUT_TOLERANCE: Final = 1e-3
_VERSIONED: Final = ("stowplan", "torch", "triton", "torchvision", "timm", "transformers")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is."""

    dataset: GpuDataset
    machine: Machine
    planned: int
    done: int
    failed: int
    left: int
    """Units that are neither: the time of this slice of work was over, or that of the campaign."""
    exhausted: bool
    """True where the campaign's whole time is spent: nothing more is measured, whatever is left."""


def start_worker(environment: Mapping[str, str]) -> Worker:
    """A measured process."""
    return Worker(module=_MODULE, environment=environment)


def probe(start: Start = start_worker) -> Machine:
    """What this machine allows.

    Raises:
        DeviceUnavailable: it has no NVIDIA GPU that torch can use.
    """
    found = machines.read_gpus()
    gpu = replace(found[0], mig_devices=machines.parse_mig_devices(machines.smi("-L")) if found[0].mig_enabled else ())
    # With several GPUs, or instances, the first is the one that is measured: a MIG instance is no device until it is named.
    visible = {"CUDA_VISIBLE_DEVICES": gpu.mig_devices[0][1] if gpu.mig_devices else gpu.uuid}
    with start(visible) as worker:
        try:
            torch = machines.parse_torch(worker.ask("describe", _DESCRIBE_TIMEOUT_S))
        except DeviceUnavailable:
            raise
        except MeasurementError as error:
            raise DeviceUnavailable(f"torch cannot be asked: {error}; install the extra `train` (docs/gpu-campaign.md)") from error
    return machines.judge(gpu, torch, has_mps_control=shutil.which(machines.MPS_CONTROL) is not None, gpus=len(found))


def run(
    runtime: str,
    folder: Path,
    machine: Machine,
    *,
    minutes: float = MINUTES,
    minutes_in_all: float = MINUTES_IN_ALL,
    advance: Callable[[str, int], None] = lambda _name, _total: None,
    start: Start = start_worker,
    now: Callable[[], float] = time.monotonic,
) -> Progress:
    """One slice of work: units that are not kept yet, in order of value, while they are expected to end in time.

    Raises:
        DatasetRefused: the folder holds something else.
    """
    dataset = tables.open_dataset(folder, machine.gpu.product)
    dataset.skips = dict(machine.skips)
    planned, began = plans.allowed(runtime, machine), now()
    index = _machine_index(dataset, machine)
    budget_s = min(minutes * 60, minutes_in_all * 60 - dataset.seconds_spent(runtime))
    deadline = began + budget_s
    with ExitStack() as stack:
        mps, planned = _with_mps(stack, dataset, planned, enter=any(item.sharing.startswith("mps-") and item.key not in dataset.units for item in planned))
        mig = {profile.replace("+", "."): uuid for profile, uuid in machine.gpu.mig_devices}
        for unit in planned:
            advance(unit.key, len(planned))
            if unit.key in dataset.units or now() + _expected_s(dataset, unit) > deadline:
                continue
            at = now()
            variables = {"CUDA_VISIBLE_DEVICES": machine.gpu.uuid, **partitions.environment(unit.sharing, mps, mig)}
            try:
                rows = units.measured(unit, machine, lambda variables=variables: start(variables), lambda: max(1.0, deadline + _GRACE_S - now()))  # type: ignore[misc]
            except (MeasurementError, DatasetRefused) as error:
                if now() >= deadline:
                    # Cut off by the end of this slice of work: the next one tries it again.
                    break
                dataset.keep(unit.key, {}, Outcome("failed", now() - at, index, f"{type(error).__name__}: {str(error)[:400]}"))
            else:
                dataset.keep(unit.key, _compared(dataset, rows), Outcome("done", now() - at, index))
    dataset.write()
    statuses = [dataset.units[unit.key].status if unit.key in dataset.units else "left" for unit in planned]
    spent_s = dataset.seconds_spent(runtime)
    left = statuses.count("left")
    exhausted = left > 0 and minutes_in_all * 60 - spent_s < min(_expected_s(dataset, unit) for unit in planned if unit.key not in dataset.units)
    return Progress(dataset, machine, len(planned), statuses.count("done"), statuses.count("failed"), left, exhausted)


def _compared(dataset: GpuDataset, rows: dict[str, list[AnyRow]]) -> dict[str, list[AnyRow]]:
    """The rows, with a note on networks whose outputs differ from those on the whole GPU.

    On some numbers of multiprocessors libraries have computed wrong results without a word; such a time is no measurement of that network.
    """
    whole = {(row.network, row.runtime): row for row in dataset.rows["networks"] if isinstance(row, NetworkRow) and row.partition == "full"}
    found: list[AnyRow] = []
    for row in rows.get("networks", []):
        same = whole.get((row.network, row.runtime)) if isinstance(row, NetworkRow) else None
        if isinstance(row, NetworkRow) and same is not None and not math.isclose(row.output_abs_sum, same.output_abs_sum, rel_tol=_OUTPUT_TOLERANCE):
            found.append(replace(row, note=f"{row.note}; outputs differ from the whole GPU's ({row.output_abs_sum:g}, {same.output_abs_sum:g})".strip("; ")))
        else:
            found.append(row)
    return {**rows, **({"networks": found} if found else {})}


def _with_mps(stack: ExitStack, dataset: GpuDataset, planned: tuple[Unit, ...], *, enter: bool) -> tuple[Mapping[str, str], tuple[Unit, ...]]:
    """The daemon's variables; where it does not start, the plan without what needs it."""
    if not enter:
        return {}, planned
    try:
        return stack.enter_context(partitions.mps_daemon()), planned
    except DeviceUnavailable as error:
        dataset.skips["mps"] = str(error)
        return {}, tuple(unit for unit in planned if not unit.sharing.startswith("mps-"))


def _expected_s(dataset: GpuDataset, unit: Unit) -> float:
    known = [
        outcome.seconds for key, outcome in dataset.units.items() if key.startswith(f"{unit.runtime}/{unit.kind}/") and outcome.status == "done"
    ]  # fmt: skip
    # A unit may well take longer than the middle one; a slice of work shall end in time all the same.
    return 1.5 * statistics.median(known) if known else unit.expected_s


def _machine_index(dataset: GpuDataset, machine: Machine) -> int:
    """Where this machine stands in the provenance; it is added where it is new."""
    document = provenance(machine)
    alike = [index for index, known in enumerate(dataset.machines) if {**known, "date": None, "state": None} == {**document, "date": None, "state": None}]
    if alike:
        return alike[0]
    dataset.machines.append(document)
    return len(dataset.machines) - 1


def provenance(machine: Machine) -> dict[str, Any]:
    """What a reader must know of a machine to trust its rows, as plain JSON."""
    gpu = machine.gpu
    return {
        "gpu": {"name": gpu.name, "driver": gpu.driver, "memoryMib": gpu.memory_mib, "computeMode": gpu.compute_mode, "mig": gpu.mig_enabled,
                "multiprocessors": machine.torch.multiprocessors, "computeCapability": machine.torch.compute_capability, "maxClockMhz": gpu.max_clock_mhz,
                "powerLimitWatts": gpu.power_limit_watts},
        "gpusInMachine": machine.gpus,
        "state": {"clockMhz": gpu.clock_mhz, "temperatureCelsius": gpu.temperature_celsius},
        "cuda": machine.torch.cuda,
        "versions": {name: _version(name) for name in _VERSIONED} | {"torch": machine.torch.version, "triton": machine.torch.triton},
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()}",
        "date": now_utc(),
        "protocol": {
            "precision": "float32, TF32 off", "weights": "random, seed 0", "clocks": "not fixed",
            "warmUp": "windows of 0.1 s until three in a row agree within 2 %, at most 2 s",
            "kernels": "torch.profiler (Kineto), ten runs, joined to the compiler's own provenance",
        },
    }  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

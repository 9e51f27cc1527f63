"""The campaign: probes, plans, and runs unit after unit in worker processes until its time is over; what was kept is never measured again.

This process never loads torch: a GPU that hangs or a library that dies takes a worker with it, and its unit counts as failed, with the reason.
"""

import math
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stowplan_predictor.errors import DatasetRefused, DeviceUnavailable, MeasurementError
from stowplan_predictor.measuring.processes import Worker
from stowplan_predictor.training.cuda import lanes, machines, partitions, plans, records, tables, units
from stowplan_predictor.training.cuda.lanes import Result
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
        DeviceUnavailable: it has no NVIDIA GPU that torch can use, or somebody is using it.
    """
    found = machines.read_gpus()
    machines.refuse_busy(machines.smi(f"--id={found[0].uuid}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"))
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
        MeasurementError: the slice of work is too short for any unit that is left: run again, it would be so again.
    """
    dataset = tables.open_dataset(folder, machine.gpu.product)
    dataset.skips = dict(machine.skips)
    planned, began, at_once = plans.allowed(runtime, machine), now(), plans.lanes_of(cores())
    index = records.machine_index(dataset, machine)
    budget_s = min(minutes * 60, minutes_in_all * 60 - dataset.seconds_spent(runtime))
    deadline = began + budget_s
    shortest_s = min((_expected_s(dataset, unit, at_once) for unit in planned if unit.key not in dataset.units), default=0.0)
    if minutes * 60 < shortest_s <= minutes_in_all * 60 - dataset.seconds_spent(runtime):
        raise MeasurementError(f"{minutes:g} minutes are too short for any unit that is left: the shortest is expected to take {shortest_s / 60:.1f}")
    with ExitStack() as stack:
        needed = any(item.sharing.startswith("mps-") and item.key not in dataset.units for item in planned)
        mps, planned = _with_mps(stack, dataset, planned, machine.gpu.uuid if needed else "")
        mig = {profile.replace("+", "."): uuid for profile, uuid in machine.gpu.mig_devices}
        for batch in lanes.batches([unit for unit in planned if unit.key not in dataset.units], at_once):
            fitting = _fitting(dataset, batch, deadline - now(), at_once)
            variables = {"CUDA_VISIBLE_DEVICES": machine.gpu.uuid, **partitions.environment(batch[0].sharing, mps, mig), **_threads(at_once)}
            over = False
            for result in _results(fitting, machine, lambda variables=variables: start(variables), lambda: max(1.0, deadline + _GRACE_S - now()), now):  # type: ignore[misc]
                advance(result.unit.key, len(planned))
                if result.reason and now() >= deadline:
                    # Cut off by the end of this slice of work: the next one tries it again.
                    over = True
                    break
                outcome = Outcome("failed" if result.reason else "done", result.seconds, index, result.reason)
                dataset.keep(result.unit.key, _compared(dataset, result.rows), outcome)
            if over:
                break
    dataset.write()
    statuses = [dataset.units[unit.key].status if unit.key in dataset.units else "left" for unit in planned]
    spent_s = dataset.seconds_spent(runtime)
    left = statuses.count("left")
    exhausted = left > 0 and minutes_in_all * 60 - spent_s < min(_expected_s(dataset, unit, at_once) for unit in planned if unit.key not in dataset.units)
    return Progress(dataset, machine, len(planned), statuses.count("done"), statuses.count("failed"), left, exhausted)


def _results(batch: Sequence[Unit], machine: Machine, start: units.Open, left_s: Callable[[], float], now: Callable[[], float]) -> Iterator[Result]:
    if batch and batch[0].is_prepared_beside_others:
        yield from lanes.together(batch, start, left_s, now)
        return
    for unit in batch:
        at = now()
        try:
            rows = units.measured(unit, machine, start, left_s)
        except (MeasurementError, DatasetRefused) as error:
            yield Result(unit, now() - at, reason=lanes.reason_of(error))
        else:
            yield Result(unit, now() - at, rows)


def _fitting(dataset: GpuDataset, batch: Sequence[Unit], left_s: float, at_once: int) -> list[Unit]:
    """As many of a batch, in its order, as are expected to end in time."""
    found: list[Unit] = []
    for unit in batch:
        left_s -= _expected_s(dataset, unit, at_once)
        if left_s < 0:
            break
        found.append(unit)
    return found


def _threads(at_once: int) -> dict[str, str]:
    """So that compilers beside each other do not fight for cores."""
    return {"TORCHINDUCTOR_COMPILE_THREADS": str(max(1, cores() // at_once))} if at_once > 1 else {}


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


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


def _with_mps(stack: ExitStack, dataset: GpuDataset, planned: tuple[Unit, ...], uuid: str) -> tuple[Mapping[str, str], tuple[Unit, ...]]:
    """The daemon's variables; where it does not start, the plan without what needs it."""
    if not uuid:
        return {}, planned
    try:
        return stack.enter_context(partitions.mps_daemon(uuid)), planned
    except DeviceUnavailable as error:
        dataset.skips["mps"] = str(error)
        return {}, tuple(unit for unit in planned if not unit.sharing.startswith("mps-"))


def _expected_s(dataset: GpuDataset, unit: Unit, at_once: int) -> float:
    known = [
        outcome.seconds for key, outcome in dataset.units.items() if key.startswith(f"{unit.runtime}/{unit.kind}/") and outcome.status == "done"
    ]  # fmt: skip
    # A unit may well take longer than the middle one; a slice of work shall end in time all the same.
    return 1.5 * statistics.median(known) if known else unit.expected_s(at_once)

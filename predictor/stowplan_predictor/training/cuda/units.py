"""One unit of work: which commands the measured processes are given, and the rows that their answers become."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from stowplan_predictor.errors import MeasurementError, RuntimeRefused
from stowplan_predictor.measuring.distributions import describe
from stowplan_predictor.measuring.processes import Worker, now_utc
from stowplan_predictor.training.cuda import machines, partitions, plans
from stowplan_predictor.training.cuda.machines import Machine
from stowplan_predictor.training.cuda.plans import Kind, Unit
from stowplan_predictor.training.cuda.rows import AnyRow, KernelRow, NetworkRow, NodeRow, PairRow

Start = Callable[[Mapping[str, str]], Worker]
Open = Callable[[], Worker]
"""Starts a measured process that has the unit's part of the GPU."""

# No answer may take longer, whatever is left of the slice of work: compiling a large network takes about a minute.
_ANSWER_S: Final = 170.0
_WALL_S: Final = 1.5


def preparing(unit: Unit) -> dict[str, Any]:
    """What a worker is told to make ready for a network or a block."""
    if unit.kind is Kind.KERNELS:
        return {"runtime": unit.runtime, "seed": int(unit.subject), "count": plans.KERNELS_IN_BLOCK}
    return {"runtime": unit.runtime, "network": unit.subject}


def whole_rows(unit: Unit, answer: Mapping[str, Any]) -> dict[str, list[AnyRow]]:
    """A worker's answer about a network or a block on the whole GPU."""
    return _whole(unit, answer, f"random-block-{unit.subject}" if unit.kind is Kind.KERNELS else unit.subject)


def limited(left_s: Callable[[], float]) -> Callable[[], float]:
    """How long an answer may take now."""
    return lambda: min(_ANSWER_S, left_s())


def measured(unit: Unit, machine: Machine, start: Open, left_s: Callable[[], float]) -> dict[str, list[AnyRow]]:
    """The rows of a partition or of pairs.

    Raises:
        MeasurementError: it could not be measured, or not in time.
    """
    if unit.kind is Kind.PARTITION:
        return {"networks": list(_partitioned(unit, machine, start, limited(left_s)))}
    return {"pairs": list(_pairs(unit, start, limited(left_s)))}


def network_row(unit: Unit, answer: Mapping[str, Any], network: str, kernels: int | None) -> NetworkRow:
    """A worker's answer as a row."""
    wall, device = describe(answer["wall_ms"]), describe(answer["device_ms"])
    return NetworkRow(
        unit=unit.key, network=network, family=answer["family"], runtime=unit.runtime, partition=unit.sharing, multiprocessors=answer["multiprocessors"],
        batch=answer["batch"], wall_ms=wall.median_ms, wall_p5_ms=wall.p5_ms, wall_p95_ms=wall.p95_ms, device_ms=device.median_ms,
        device_p5_ms=device.p5_ms, device_p95_ms=device.p95_ms, device_method=answer["method"], runs=wall.runs, steady=answer["steady"],
        clock_mhz=_clock_mhz(), compile_s=answer["compile_s"], kernels=kernels, output_sum=answer["output_sum"], output_abs_sum=answer["output_abs_sum"],
        note=answer["note"], measured_at=now_utc(),
    )  # fmt: skip


def _whole(unit: Unit, answer: Mapping[str, Any], network: str) -> dict[str, list[AnyRow]]:
    kernels = [_kernel_row(unit, network, item) for item in answer["kernels"]]
    nodes: list[AnyRow] = [
        NodeRow(unit.key, network, number, node["name"], node["target"], tuple(node["inputs"]), tuple(node["shape"]), node["dtype"], node["arguments"])
        for number, graph in enumerate(answer["graphs"])
        for node in graph["nodes"]
    ]
    return {"networks": [network_row(unit, answer, network, len(kernels))], "kernels": list(kernels), "nodes": nodes}


def _kernel_row(unit: Unit, network: str, item: Mapping[str, Any]) -> KernelRow:
    durations: Sequence[float] = item["durations_us"]
    quartiles = statistics.quantiles(durations, n=4, method="inclusive") if len(durations) > 1 else [*durations] * 3
    p25, median, p75 = quartiles or (None, None, None)
    return KernelRow(
        unit.key, network, unit.runtime, item["graph"], item["position"], item["name"], item["source"], tuple(item["operators"]), tuple(item["nodes"]),
        item["shapes"], tuple(item["launches"]), median, p25, p75, len(durations),
    )  # fmt: skip


def _partitioned(unit: Unit, machine: Machine, start: Open, limit_s: Callable[[], float]) -> list[NetworkRow]:
    """Every network of `PARTITIONED` on the part; one that does not run there is left out, unless none does."""
    found: list[NetworkRow] = []
    failures: list[str] = []
    green = 0
    if unit.sharing.startswith("green-"):
        green = partitions.green_multiprocessors(machine.torch.multiprocessors, partitions.percent_of(unit.sharing), machine.torch.compute_capability)
    with start() as worker:
        for network in plans.PARTITIONED:
            try:
                worker.ask("prepare", limit_s(), runtime=unit.runtime, network=network, kernels=False)
                answer = worker.ask("measure", limit_s(), green_multiprocessors=green)
            except RuntimeRefused as error:
                failures.append(f"{network}: {error}")
                continue
            if unit.sharing.startswith("mps-") and answer["multiprocessors"] >= machine.torch.multiprocessors:
                raise MeasurementError(f"{unit.sharing} leaves all {machine.torch.multiprocessors} multiprocessors: the process is no client of our MPS daemon")
            found.append(network_row(unit, answer, network, None))
    if not found:
        raise MeasurementError("; ".join(failures)[:400])
    return found


def _pairs(unit: Unit, start: Open, limit_s: Callable[[], float]) -> list[PairRow]:
    """Each network beside each other one; alone before and after all of them. One that does not run is left out, unless fewer than two are left."""
    with ExitStack() as stack:
        workers = {network: stack.enter_context(start()) for network in plans.PAIRED}
        for network, worker in workers.items():
            worker.tell("open", runtime=unit.runtime, network=network)
        opened: dict[str, Mapping[str, Any]] = {}
        failures: list[str] = []
        for network, worker in workers.items():
            try:
                opened[network] = worker.hear("open", limit_s())
            except RuntimeRefused as error:
                failures.append(f"{network}: {error}")
        if len(opened) < 2:
            raise MeasurementError("; ".join(failures)[:400])
        found: list[PairRow] = []
        for subject in opened:
            found += _beside_each(unit, subject, {network: workers[network] for network in opened}, opened[subject]["multiprocessors"], limit_s)
    return found


def _beside_each(unit: Unit, subject: str, workers: Mapping[str, Worker], multiprocessors: int, limit_s: Callable[[], float]) -> list[PairRow]:
    one = workers[subject]
    alone_ms = describe(one.ask("wall", limit_s(), seconds=_WALL_S)["wall_ms"]).median_ms
    beside = []
    for neighbour, other in workers.items():
        if neighbour != subject:
            other.ask("spin", limit_s())
            slowed = describe(one.ask("wall", limit_s(), seconds=_WALL_S)["wall_ms"])
            beside.append((neighbour, slowed, other.ask("stop", limit_s()), now_utc()))
    again_ms = describe(one.ask("wall", limit_s(), seconds=_WALL_S)["wall_ms"]).median_ms
    return [
        PairRow(
            unit=unit.key, subject=subject, neighbour=neighbour, neighbours=1, runtime=unit.runtime, sharing=unit.sharing, multiprocessors=multiprocessors,
            alone_ms=alone_ms, beside_ms=slowed.median_ms, beside_p95_ms=slowed.p95_ms, alone_again_ms=again_ms, runs=slowed.runs,
            neighbour_requests_per_second=spun["runs"] / max(spun["seconds"], 1e-9), measured_at=at,
        )
        for neighbour, slowed, spun, at in beside
    ]  # fmt: skip


def _clock_mhz() -> float | None:
    try:
        return machines.read_gpus()[0].clock_mhz
    except MeasurementError:
        return None

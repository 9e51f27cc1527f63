"""The profiler's record, read: which CUDA kernels each run launched, for whom, and how long they took.

The format is that of `torch.profiler`'s `export_chrome_trace` (Kineto). A CUDA kernel's event carries the correlation of the runtime call that launched it,
and that call lies inside the operator that asked for it; kernels that the compiler generated are launched outside of any operator and carry the compiler's
own names.
"""

import bisect
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stowplan_predictor.training.cuda.provenances import KernelTruth

# Each profiled run is wrapped in an annotation of this name.
RUN_MARK: Final = "stowplan-run"
_DEVICE_CATEGORIES: Final = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_LAUNCH_CATEGORIES: Final = frozenset({"cuda_runtime", "cuda_driver"})


@dataclass(frozen=True, slots=True)
class Launch:
    """A CUDA kernel that ran."""

    name: str
    duration_us: float
    caller: int | None
    """Index of the outermost ATen operator that launched it among those of its run; None where none did: the compiler's own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An ATen operator called from outside of any other."""

    name: str
    shapes: str
    """Its inputs as JSON: `dims` of each, and `values` of those that are no tensors (strides, padding, groups); empty where the profiler recorded none."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What one call cost."""

    duration_us: float
    launches: tuple[str, ...]
    """Names of the CUDA kernels that it launched, in order."""


def _timed(launches: Sequence[Launch]) -> Timed:
    return Timed(sum(item.duration_us for item in launches), tuple(item.name for item in launches))


@dataclass(frozen=True, slots=True)
class ProfiledRun:
    """One run of a network."""

    launches: tuple[Launch, ...]
    callers: tuple[Caller, ...]


def profiled_runs(events: Iterable[Mapping[str, Any]]) -> tuple[ProfiledRun, ...]:
    """The runs of a record, in order."""
    complete = [event for event in events if event.get("ph") == "X"]
    marks = sorted((_span(event) for event in complete if event.get("name") == RUN_MARK and event.get("cat") == "user_annotation"), key=lambda span: span[0])
    operators = sorted((event for event in complete if event.get("cat") == "cpu_op" and str(event["name"]).startswith("aten::")), key=lambda event: event["ts"])
    launched_at = {
        event["args"]["correlation"]: event["ts"] for event in complete if event.get("cat") in _LAUNCH_CATEGORIES and "correlation" in event.get("args", {})
    }
    device = sorted((event for event in complete if event.get("cat") in _DEVICE_CATEGORIES), key=lambda event: event["ts"])
    runs = []
    for begin, end in marks:
        outer = _outermost([event for event in operators if begin <= event["ts"] < end])
        starts = [event["ts"] for event in outer]
        launches = []
        for event in device:
            moment = launched_at.get(event.get("args", {}).get("correlation"))
            if moment is None or not begin <= moment < end:
                continue
            at = bisect.bisect_right(starts, moment) - 1
            inside = at >= 0 and moment < outer[at]["ts"] + outer[at]["dur"]
            launches.append(Launch(str(event["name"]), float(event["dur"]), at if inside else None))
        runs.append(ProfiledRun(tuple(launches), tuple(Caller(str(event["name"]), _shapes(event.get("args", {}))) for event in outer)))
    return tuple(runs)


def _shapes(arguments: Mapping[str, Any]) -> str:
    dims, values = arguments.get("Input Dims"), arguments.get("Concrete Inputs")
    return json.dumps({"dims": dims, "values": values}) if dims is not None else ""


def _span(event: Mapping[str, Any]) -> tuple[float, float]:
    return event["ts"], event["ts"] + event["dur"]


def _outermost(operators: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for event in operators:
        if not found or event["ts"] >= found[-1]["ts"] + found[-1]["dur"]:
            found.append(event)
    return found


def join(kernels: Sequence[KernelTruth], run: ProfiledRun) -> list[Timed | None]:
    """For each kernel that the compiler calls, in order, what it cost in one run; None where that cannot be told.

    Generated kernels are known by name and stand in the record in the order of their calls. Between two of them the library's calls are told apart by the
    operator that launched them, and are believed only where there are as many as the compiler said.
    """
    found: list[Timed | None] = [None] * len(kernels)
    generated = {kernel.name for kernel in kernels if not kernel.is_library}
    position, waiting = 0, 0
    groups: list[list[Launch]] = []

    def settle(upto: int) -> None:
        libraries = [index for index in range(waiting, upto) if kernels[index].is_library]
        if len(libraries) == len(groups):
            for index, group in zip(libraries, groups, strict=True):
                found[index] = _timed(group)

    last_caller: int | None = None
    for launch in run.launches:
        if launch.caller is None and launch.name in generated:
            position = next((index for index in range(waiting, len(kernels)) if kernels[index].name == launch.name), -1)
            if position < 0:
                return found
            settle(position)
            found[position] = _timed([launch])
            waiting, groups, last_caller = position + 1, [], None
        elif groups and launch.caller == last_caller:
            groups[-1].append(launch)
        else:
            groups.append([launch])
            last_caller = launch.caller
    settle(len(kernels))
    return found


def eager_kernels(run: ProfiledRun) -> list[tuple[Caller, Timed]]:
    """Operators of an eager run that launched anything, in order, with what each cost."""
    launched: dict[int, list[Launch]] = {}
    for launch in run.launches:
        if launch.caller is not None:
            launched.setdefault(launch.caller, []).append(launch)
    return [(run.callers[index], _timed(launched[index])) for index in sorted(launched)]

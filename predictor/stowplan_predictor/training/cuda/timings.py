"""Timing on a CUDA device: a locked warm-up, then one request at a time by the wall clock, and back to back by the device's own events.

Warm-up is locked: windows of runs are timed until three in a row agree within 2 %, so that clocks, caches and the allocator have settled; where they never do
within its time, the row says so. Clocks are not fixed: that takes rights, and changes the GPU for others.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

_AGREEMENT: Final = 0.02
_WINDOWS: Final = 3
_WARM_UP_S: Final = 2.0
_WINDOW_S: Final = 0.1
# Per way of timing: at least so many runs, and about so many seconds.
_LEAST_RUNS: Final = 30
_MOST_RUNS: Final = 2000
_TIMED_S: Final = 0.8


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of runs, in milliseconds."""

    wall_ms: tuple[float, ...]
    device_ms: tuple[float, ...]
    method: str
    """`cuda-graph` or `events`."""
    steady: bool
    note: str


def is_steady(window_ms: Sequence[float]) -> bool:
    """True where the last windows agree."""
    last = list(window_ms)[-_WINDOWS:]
    return len(last) == _WINDOWS and max(last) <= min(last) * (1 + _AGREEMENT)


def warm_up(run: Callable[[], Any], limit_s: float = _WARM_UP_S) -> bool:
    """Runs until steady; False where it never was."""
    deadline, windows = time.monotonic() + limit_s, list[float]()
    while time.monotonic() < deadline:
        began, runs = time.perf_counter(), 0
        while time.perf_counter() - began < _WINDOW_S:
            run()
            torch.cuda.synchronize()
            runs += 1
        windows.append((time.perf_counter() - began) * 1e3 / runs)
        if is_steady(windows):
            return True
    return False


def wall(run: Callable[[], Any], seconds: float = _TIMED_S) -> tuple[float, ...]:
    """One request at a time: from the call until the device is idle."""
    found: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(found) < _LEAST_RUNS or (time.perf_counter() < deadline and len(found) < _MOST_RUNS):
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        found.append((time.perf_counter() - began) * 1e3)
    return tuple(found)


def measure(run: Callable[[], Any], *, graphs: bool = True) -> Times:
    """Warm-up, wall times, device times."""
    steady = warm_up(run)
    by_wall = wall(run)
    replay, note = _graphed(run) if graphs else (None, "no graph under a green context")
    by_device = _between_events(replay or run)
    return Times(by_wall, by_device, "cuda-graph" if replay else "events", steady, note)


def _between_events(run: Callable[[], Any]) -> tuple[float, ...]:
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    found: list[float] = []
    deadline = time.perf_counter() + _TIMED_S
    while len(found) < _LEAST_RUNS or (time.perf_counter() < deadline and len(found) < _MOST_RUNS):
        marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(10)]
        for begin, end in marks:
            begin.record()
            run()
            end.record()
        torch.cuda.synchronize()
        found += [float(begin.elapsed_time(end)) for begin, end in marks]
    return tuple(found)


def _graphed(run: Callable[[], Any]) -> tuple[Callable[[], Any] | None, str]:
    """A replay of the run as a CUDA graph, or why there is none (a network that looks at its values cannot be captured)."""
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        torch.cuda.synchronize()
    except Exception as error:  # noqa: BLE001 - whatever a network does in a capture; it is timed by events then
        torch.cuda.synchronize()
        return None, f"no CUDA graph: {type(error).__name__}: {str(error)[:120]}"
    return graph.replay, ""

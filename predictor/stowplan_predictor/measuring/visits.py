"""Short looks at one network on several slices, made to be repeated: one process, one session a slice, profiled first and then timed without the profiler.

The session that was profiled is the one that is timed right after it, with the same memory and the same packed weights: what its kernels sum to and what a
run takes then differ by the profiler and by what lies between kernels, not by two moments of the machine. Before each of both it waits
until the host has given the slice cores of its own (`references.Placement`). A visit is short on purpose: the host's other guests slow a machine for seconds
or minutes at a time and never speed it up, so that several short visits minutes apart meet a quiet moment that one long one may miss.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from stowplan_fleet.slices import Slice

from stowplan_predictor.measuring import networks, noises, processes, profiles, references
from stowplan_predictor.measuring.distributions import Distribution
from stowplan_predictor.measuring.locks import machine_lock
from stowplan_predictor.measuring.profiles import KernelTime
from stowplan_predictor.measuring.references import Reference


@dataclass(frozen=True, slots=True)
class VisitRules:
    """How long a visit is: about two seconds a slice for a network of 50 ms."""

    bursts: int = 2
    """On one core, and with the profiler on it."""
    more_bursts: int = 5
    """On several cores, which the host places badly every other time, and moves whenever it likes."""
    more_profiled: int = 4
    min_runs: int = 3
    """Of a burst; a slow network takes longer for them."""
    burst_s: float = 0.15
    profile_runs: int = 2
    profile_s: float = 0.12
    """Of a burst with the profiler, whose trace holds tens of megabytes if it is long."""
    settles: int = 6
    """Looks at the placement of cores before each profile and burst, at most."""
    max_s: float = 8.0
    """Of a burst; a network that needs more than four times as long for its runs is refused."""


@dataclass(frozen=True, slots=True)
class Window:
    """The quietest burst of runs on one slice, without the profiler."""

    slice: Slice
    threads: int
    distribution: Distribution
    burst_medians_ms: tuple[float, ...]
    """Of all bursts, in their order."""
    foreign_share: float
    steal_share: float
    product_slowdown: float
    copy_slowdown: float
    measured_at: str
    kernels: tuple[KernelTime, ...]
    """Profiled right before, in the same session; empty where no profile was taken before this window."""

    @property
    def noisy(self) -> bool:
        """True where a measure of disturbance lies above its limit."""
        limits = (
            (self.foreign_share, noises.LIMIT),
            (self.steal_share, noises.LIMIT),
            (self.distribution.steady_cv, networks.MAX_CV),
            (self.product_slowdown, references.MAX_PLACED_SLOWDOWN),
            (self.copy_slowdown, references.MAX_COPY_SLOWDOWN),
        )
        return any(value > limit for value, limit in limits)


def _settling(rules: VisitRules, best: Reference) -> dict[str, float]:
    """How long to wait for cores of our own, and what tells them."""
    return {"settle_ms": best.product_ms * references.MAX_PLACED_SLOWDOWN, "settles": rules.settles}


def _window(worker: processes.Worker, path: Path, part: Slice, rules: VisitRules, best: Reference, *, optimized: onnx.ModelProto | None) -> Window:
    """Opens the network on a slice, profiles it where its optimised graph is given to name the kernels by, and times it."""
    cores, slot = processes.cores_of(part), str(part)
    bursts, profiled = (rules.more_bursts, rules.more_profiled) if cores > 1 else (rules.bursts, rules.bursts)
    with tempfile.TemporaryDirectory() as folder:
        worker.ask(
            "open", timeout_s=120, model=str(path), cpus=processes.placed_cpus(cores), threads=cores, spinning=True, input_shapes={},
            slot=slot, profiled_in=folder if optimized else "", pooled=cores > 1,
        )  # fmt: skip
        kernels: tuple[KernelTime, ...] = ()
        if optimized is not None:
            summary = worker.ask(
                "profile_own", timeout_s=180, slot=slot, count=profiled, min_runs=rules.profile_runs, min_s=rules.profile_s, **_settling(rules, best)
            )
            kernels = profiles.kernel_times(summary, optimized)
    taken = worker.ask(
        "bursts", timeout_s=rules.max_s * 5 + 60, slot=slot, count=bursts,
        min_runs=rules.min_runs, min_s=rules.burst_s, max_s=rules.max_s, **_settling(rules, best),
    )  # fmt: skip
    copied = worker.ask("copied", timeout_s=60, slot=slot)
    return Window(
        slice=part,
        threads=cores,
        distribution=networks.distribution_of(taken),
        burst_medians_ms=tuple(taken["medians_ms"]),
        foreign_share=taken["foreign_share"],
        steal_share=taken["steal_share"],
        product_slowdown=taken["product_ms"] / best.product_ms,
        copy_slowdown=copied["copy_ms"] / best.copy_ms,
        measured_at=processes.now_utc(),
        kernels=kernels,
    )


def visit(
    path: Path,
    parts: Sequence[Slice],
    best: Mapping[str, Reference],
    *,
    optimized: bytes = b"",
    rules: VisitRules | None = None,
    wait_s: float = 600.0,
    on_wait: Callable[[str], None] | None = None,
) -> tuple[Window, ...]:
    """One window a slice of whole cores; with `optimized` (the stripped optimised graph) kernels are profiled before it.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        RuntimeRefused: the runtime cannot run the network.
        MeasurementError: the machine has fewer cores than a slice.
    """
    rules = rules or VisitRules()
    graph = onnx.load_model_from_string(optimized) if optimized else None
    with machine_lock(wait_s, on_wait), processes.Worker() as worker:
        return tuple(_window(worker, path, part, rules, best[str(part)], optimized=graph) for part in parts)

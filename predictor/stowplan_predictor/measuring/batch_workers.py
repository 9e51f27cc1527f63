"""The process that measures many small networks: `python -m stowplan_predictor.measuring.batch_workers`, one JSON command a line, one JSON line back.

Commands: `open` (one more network), `visit` (a short sample of each open network in turn, with looks at the machine in between), `profile` (one network,
kernel by kernel, and a visit right after). Networks stay open side by side, so that visits to one lie seconds apart: a phase in which the machine is slow does
not hit all of them.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import onnxruntime

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.measuring import distributions, noises, references, traces
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.measuring.sessions import Measured, events_of

# Seconds of visits between two looks at the machine: a look costs 60 ms, and what it says holds for about a second.
_LOOK_EVERY_S: Final = 0.7
# The first run after another network's meets cold caches; tiny networks need some more.
_WARM_S: Final = 0.001
# How often the host may place two cores anew until they are cores of their own.
_TRIES: Final = 4
# Bursts of a profile, and visits after it: the quietest of each counts.
_BURSTS: Final = 3
_KEPT: Final = ("runs", "median_ms", "mean_ms", "p5_ms", "p25_ms", "cv")


class _Pooled(Measured):
    """A network that computes on the threads of the process: threads of forty sessions, each spinning for 40 ms after its last run, would slow each other."""

    def _options(self) -> Any:  # noqa: ANN401 - the runtime's own
        options = super()._options()
        options.use_per_session_threads = False
        # The pool decides; a count here would only be warned about.
        options.intra_op_num_threads = options.inter_op_num_threads = 0
        return options


class Batch:
    """Open networks, by name."""

    def __init__(self) -> None:
        self._networks: dict[str, Measured] = {}
        self._referee: references.Referee | None = None
        self._placement: references.Placement | None = None

    def open(self, *, name: str, model: str, cpus: list[int], threads: int) -> dict[str, Any]:
        """Opens one more network on whole cores, and runs it once."""
        if not self._networks and threads > 1:
            os.sched_setaffinity(0, cpus)
            onnxruntime.set_global_thread_pool_sizes(threads, 1)
        kind = _Pooled if threads > 1 else Measured
        self._networks[name] = kind(model=model, cpus=cpus, threads=threads, spinning=True, input_shapes={})
        return {}

    def visit(self, *, min_runs: int, min_s: float, placed_ms: float) -> dict[str, Any]:
        """A short sample of every open network, in the order of opening; `placed_ms` is what the fixed product takes at most on cores of their own."""
        if not self._networks:
            raise RuntimeRefused("visit: nothing is open")
        threads = next(iter(self._networks.values())).threads
        self._referee = self._referee or references.Referee(threads, pooled=threads > 1)
        if threads > 1:
            self._placement = self._placement or references.Placement(threads, pooled=True)
        gc.collect()
        gc.disable()
        try:
            return {"visits": self._visited(self._referee, min_runs, min_s, placed_ms)}
        finally:
            gc.enable()

    def _visited(self, referee: references.Referee, min_runs: int, min_s: float, placed_ms: float) -> list[dict[str, Any]]:
        visits: list[dict[str, Any]] = []
        waiting = list(self._networks)
        before = referee.look()
        while waiting:
            began, times, own_s = time.perf_counter(), noises.cpu_times(), time.process_time()
            fresh: list[dict[str, Any]] = []
            while waiting and time.perf_counter() - began < _LOOK_EVERY_S:
                name = waiting.pop(0)
                placed = self._placed(placed_ms)
                fresh.append({"name": name, "product_ms": placed} | _sample(self._networks[name], min_runs, min_s))
            noise = noises.noise_between(times, noises.cpu_times(), time.process_time() - own_s)
            after = referee.look()
            visits += [_framed(visit, noise, before, after) for visit in fresh]
            before = after
        return visits

    def _placed(self, limit_ms: float) -> float:
        """Waits, on several cores, until the host has placed them well, and returns the product's time; 0 on one core, which has nothing to be placed beside.

        The threads of a network whose kernels are too small to be shared fall asleep meanwhile, and the host may place them badly when they wake.
        """
        if self._placement is None:
            return 0.0
        product_ms = self._placement.product_ms()
        return product_ms if product_ms <= limit_ms else self._placement.settle(limit_ms, _TRIES)

    def profile(self, *, name: str, folder: str, min_runs: int, min_s: float, placed_ms: float) -> dict[str, Any]:
        """Kernel times of one open network in the quietest of several bursts, and the quietest of as many visits to the same session right after.

        The session that was profiled runs on without the profiler: same memory, same packed weights, same moment of the machine.
        """
        if self._referee is None:
            raise RuntimeRefused("profile: nothing was visited yet")
        known = self._networks[name]
        network = type(known)(model=known.model, cpus=known.cpus, threads=known.threads, spinning=True, input_shapes={}, profiled_in=folder)
        before, times, own_s = self._referee.look(), noises.cpu_times(), time.process_time()
        network.warm_up(traces.WARM_UP_RUNS - 1, 0.0)
        bursts = []
        for _ in range(_BURSTS):
            self._placed(placed_ms)
            bursts.append(network.warm_up(min_runs, min_s))
        summary = traces.summarize(events_of(network.session), bursts)
        visits: list[dict[str, Any]] = []
        for _ in range(_BURSTS):
            placed = self._placed(placed_ms)
            visits.append({"name": name, "product_ms": placed} | _sample(network, min_runs, min_s))
        noise = noises.noise_between(times, noises.cpu_times(), time.process_time() - own_s)
        visit = min(visits, key=lambda taken: float(taken["p25_ms"]))
        return {"kernels": summary["kernels"], "visit": _framed(visit, noise, before, self._referee.look())}


def _framed(visit: dict[str, Any], noise: noises.Noise, before: Reference, after: Reference) -> dict[str, Any]:
    """A visit with what the machine itself did around it."""
    return visit | {
        "foreign_share": noise.foreign_share,
        "steal_share": noise.steal_share,
        "product_ms": visit["product_ms"] or max(before.product_ms, after.product_ms),
        "copy_ms": max(before.copy_ms, after.copy_ms),
    }


def _sample(network: Measured, min_runs: int, min_s: float) -> dict[str, Any]:
    """Durations of at least `min_runs` runs in a row that last at least `min_s`."""
    network.warm_up(1, _WARM_S)
    run, names, feeds = network.session.run, network.outputs, network.feeds
    durations: list[float] = []
    began = last = time.perf_counter()
    while len(durations) < min_runs or last - began < min_s:
        started = time.perf_counter()
        run(names, feeds)
        last = time.perf_counter()
        durations.append((last - started) * 1e3)
    described = distributions.describe(durations)
    return {name: getattr(described, name) for name in _KEPT}


def main() -> int:
    """Answers commands until standard input ends."""
    batch = Batch()
    commands: Mapping[str, Callable[..., dict[str, Any]]] = {"open": batch.open, "visit": batch.visit, "profile": batch.profile}
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            answer = commands[arguments.pop("command")](**arguments)
        except RuntimeRefused as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

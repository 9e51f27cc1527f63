"""The process that measures many small networks: `python -m stowplan_predictor.measuring.batch_workers`, one JSON command a line, one JSON line back.

Commands: `open` (one more network), `visit` (a short sample of each open network in turn, with looks at the machine in between), `profile` (one network,
kernel by kernel). Networks stay open side by side, so that visits to one lie seconds apart: a phase in which the machine is slow does not hit all of them.
"""

import gc
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.measuring import distributions, noises, references
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.measuring.workers import Measured

# Seconds of visits between two looks at the machine: a look costs 60 ms, and what it says holds for about a second.
_LOOK_EVERY_S: Final = 0.7
# The first run after another network's meets cold caches; tiny networks need some more.
_WARM_S: Final = 0.001
# Threads of the session before spin on the second core for a while after its last run.
_SETTLE_S: Final = 0.004
_KEPT: Final = ("runs", "median_ms", "mean_ms", "p5_ms", "p25_ms", "cv")


class Batch:
    """Open networks, by name."""

    def __init__(self) -> None:
        self._networks: dict[str, Measured] = {}
        self._referee: references.Referee | None = None

    def open(self, *, name: str, model: str, cpus: list[int], threads: int) -> dict[str, Any]:
        """Opens one more network on whole cores, and runs it once."""
        self._networks[name] = Measured(model=model, cpus=cpus, threads=threads, spinning=True, input_shapes={})
        return {}

    def visit(self, *, min_runs: int, min_s: float) -> dict[str, Any]:
        """A short sample of every open network, in the order of opening."""
        if not self._networks:
            raise RuntimeRefused("visit: nothing is open")
        gc.collect()
        gc.disable()
        try:
            return {"visits": self._visited(min_runs, min_s)}
        finally:
            gc.enable()

    def _visited(self, min_runs: int, min_s: float) -> list[dict[str, Any]]:
        visits: list[dict[str, Any]] = []
        waiting = list(self._networks)
        before = self._look()
        while waiting:
            began, times, own_s = time.perf_counter(), noises.cpu_times(), time.process_time()
            fresh = []
            while waiting and time.perf_counter() - began < _LOOK_EVERY_S:
                name = waiting.pop(0)
                fresh.append({"name": name} | _sample(self._networks[name], min_runs, min_s))
            noise = noises.noise_between(times, noises.cpu_times(), time.process_time() - own_s)
            after = self._look()
            around = {
                "foreign_share": noise.foreign_share,
                "steal_share": noise.steal_share,
                "product_ms": max(before.product_ms, after.product_ms),
                "copy_ms": max(before.copy_ms, after.copy_ms),
            }
            visits += [visit | around for visit in fresh]
            before = after
        return visits

    def _look(self) -> Reference:
        if self._referee is None:
            self._referee = references.Referee(next(iter(self._networks.values())).threads)
        return self._referee.look()

    def profile(self, *, name: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Kernel times of one open network, as `Measured.profile` takes them."""
        return self._networks[name].profile(**arguments)


def _sample(network: Measured, min_runs: int, min_s: float) -> dict[str, Any]:
    """Durations of at least `min_runs` runs in a row that last at least `min_s`."""
    if network.threads > 1:
        time.sleep(_SETTLE_S)
    network.warm_up(1, _WARM_S)
    run, names, feeds, durations = network.session.run, network.outputs, network.feeds, []
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

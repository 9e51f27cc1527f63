"""A network in the runtime, inside the measured process: its session, its inputs, and what is asked of it."""

import gc
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.measuring import distributions, inputs, noises, references, traces

# Warnings of the runtime (unused initializers, hardware-specific graphs) are not errors of a measurement.
_LOG_ERRORS_ONLY: Final = 3
# More runs than this tell nothing new about a network of 20 us, and fill memory.
_MAX_RUNS: Final = 50_000
# A sample set may outlast its bound by this factor to reach the least number of runs; a network slower than that is refused by name.
_SLOWEST_FACTOR: Final = 4
# Idle threads of the runtime spin for milliseconds before they sleep; after this long they certainly do.
_SPINNING_S: Final = 0.06


class Measured:
    """One network in the runtime, its inputs, and what is asked of it."""

    def __init__(  # noqa: PLR0917 - one JSON command, its fields by name
        self,
        model: str,
        cpus: list[int],
        threads: int,
        spinning: bool,  # noqa: FBT001 - JSON
        input_shapes: Mapping[str, list[int]],
        profiled_in: str = "",
        pooled: bool = False,  # noqa: FBT001 - JSON
    ) -> None:
        """With `profiled_in`, the session itself is profiled from its first run until `profile_own`, and writes its trace in that folder.

        With `pooled`, it computes on the threads of the process, as the fixed product beside it does: each session's own would spin against the other's.
        """
        os.sched_setaffinity(0, cpus)
        if pooled:
            onnxruntime.set_global_thread_pool_sizes(threads, 1)
        self.model, self.cpus, self.threads, self.spinning, self.pooled = model, cpus, threads, spinning, pooled
        self._referee: references.Referee | None = None
        self._placement: references.Placement | None = None
        self._copy: references.Copy | None = None
        shapes = {name: tuple(shape) for name, shape in input_shapes.items()}
        try:
            options = self._options()
            if pooled:
                options.use_per_session_threads = False
                # The pool decides; a count here would only be warned about.
                options.intra_op_num_threads = options.inter_op_num_threads = 0
            if profiled_in:
                options.enable_profiling = True
                options.profile_file_prefix = str(Path(profiled_in) / "profile")
            self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            # Only indices have bounds; reading half a gigabyte of weights once more for an image would only cost time.
            integers = any("int" in item.type for item in self.session.get_inputs())
            bounds = inputs.index_bounds(onnx.load(model, load_external_data=False)) if integers else {}
            self.feeds = inputs.random_inputs(self.session.get_inputs(), bounds, shapes)
            self.outputs = [output.name for output in self.session.get_outputs()]
            self.session.run(self.outputs, self.feeds)
        except RuntimeRefused:
            raise
        except Exception as error:  # the runtime's own exceptions share no base class
            raise RuntimeRefused(f"ONNX Runtime {onnxruntime.__version__} cannot run it: {str(error)[:500]}") from error

    def _options(self) -> Any:  # noqa: ANN401 - the runtime's own
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if self.spinning else "0")
        return options

    def opened(self) -> dict[str, Any]:
        """What was opened."""
        shapes = {name: list(value.shape) for name, value in self.feeds.items()}
        return {"input_shapes": shapes, "input_bytes": sum(value.nbytes for value in self.feeds.values()), "runtime": onnxruntime.__version__}

    def dump(self, path: str) -> int:
        """Writes the inputs, one after the other, as a request carries them; returns how many bytes that is."""
        return Path(path).write_bytes(b"".join(value.tobytes() for value in self.feeds.values()))

    def look(self) -> dict[str, float]:
        """How fast the machine itself is now, on the cores and with the threads of this slice; the caches are warmed again after."""
        # The session's own threads spin for a while after a run, and would be the neighbour that is looked for.
        time.sleep(_SPINNING_S)
        if self._referee is None:
            self._referee = references.Referee(self.threads)
        seen = self._referee.look()
        self.warm_up(2, 0.0)
        return {"product_ms": seen.product_ms, "copy_ms": seen.copy_ms}

    def warm_up(self, min_runs: int, min_s: float) -> int:
        """Runs until both are reached; returns how many."""
        started, runs = time.perf_counter(), 0
        while runs < min_runs or time.perf_counter() - started < min_s:
            self.session.run(self.outputs, self.feeds)
            runs += 1
        return runs

    def _settle(self, limit_ms: float, tries: int) -> float:
        """Waits until the host has given these cores room, and goes on without a pause; the last time of the fixed product."""
        if self._placement is None:
            self._placement = references.Placement(self.threads, pooled=self.pooled)
        product_ms = self._placement.settle(limit_ms, tries)
        self.warm_up(1, 0.0)
        return product_ms

    def bursts(self, *, count: int, min_runs: int, min_s: float, max_s: float, settle_ms: float, settles: int) -> dict[str, Any]:
        """Short samples, each on cores as settled as they get: the one with the least lower quartile, and the medians of all.

        Raises:
            RuntimeRefused: the network is too slow.
        """
        taken = []
        for _ in range(count):
            product_ms = self._settle(settle_ms, settles)
            taken.append(self.sample(min_runs=min_runs, min_s=min_s, max_s=max_s) | {"product_ms": product_ms})
        quietest = min(taken, key=lambda one: float(one["distribution"]["p25_ms"]))
        return quietest | {"medians_ms": [one["distribution"]["median_ms"] for one in taken]}

    def copied(self) -> dict[str, float]:
        """How fast the memory is right now; caches are cold after it."""
        if self._copy is None:
            self._copy = references.Copy()
        return {"copy_ms": self._copy.milliseconds()}

    def sample(self, *, min_runs: int, min_s: float, max_s: float, start_at: float = 0.0, stop_at: float = 0.0, pad_s: float = 0.0) -> dict[str, Any]:
        """Runs back to back and describes their durations.

        With `stop_at`, runs from `start_at - pad_s` to `stop_at + pad_s` (monotonic seconds, which processes share) and keeps what began and ended in between.
        """
        own_entered = time.process_time()
        run, names, feeds, durations = self.session.run, self.outputs, self.feeds, []
        gc.collect()
        gc.disable()
        if stop_at:
            time.sleep(max(0.0, start_at - pad_s - time.monotonic()))
        before, own_before, began = noises.cpu_times(), time.process_time(), time.monotonic()
        while True:
            started = time.monotonic()
            run(names, feeds)
            ended = time.monotonic()
            if stop_at:
                if started >= start_at and ended <= stop_at:
                    durations.append((ended - started) * 1e3)
                if ended >= stop_at + pad_s:
                    break
                continue
            durations.append((ended - started) * 1e3)
            elapsed = ended - began
            enough = len(durations) >= min_runs
            if len(durations) >= _MAX_RUNS or (enough and elapsed >= min(min_s, max_s)):
                break
            if elapsed >= _SLOWEST_FACTOR * max_s:
                raise RuntimeRefused(f"{len(durations)} runs in {elapsed:.0f} s, {min_runs} are wanted: this network is too slow to measure here")
        own_s, after = time.process_time() - own_before, noises.cpu_times()
        gc.enable()
        if not durations:
            raise RuntimeRefused(f"not one run fitted into {stop_at - start_at:.2f} s: this network is too slow for this window")
        described = distributions.describe(durations)
        noise = noises.noise_between(before, after, own_s)
        return {
            "distribution": {name: getattr(described, name) for name in distributions.Distribution.__dataclass_fields__},
            "foreign_share": noise.foreign_share, "steal_share": noise.steal_share, "own_s": time.process_time() - own_entered,
        }  # fmt: skip

    def profile(self, *, folder: str, runs: int, max_s: float, save_optimized: bool = True) -> dict[str, Any]:
        """Kernel times of a second session with the profiler on, and the optimised model in `folder` where it is wanted."""
        options = self._options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        if save_optimized:
            options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        session = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        started, done = time.perf_counter(), 0
        while done < runs + traces.WARM_UP_RUNS or (done < traces.MAX_RUNS and time.perf_counter() - started < max_s):
            session.run(self.outputs, self.feeds)
            done += 1
        return traces.summarize(events_of(session))

    def profile_own(self, *, count: int, min_runs: int, min_s: float, settle_ms: float, settles: int) -> dict[str, Any]:
        """Kernel times of the session itself, opened with the profiler on, in the quietest of several bursts; from here on it runs without."""
        # One run was made when it was opened, and each burst begins with one that settles.
        self.warm_up(traces.WARM_UP_RUNS - 1, 0.0)
        lengths = []
        for _ in range(count):
            self._settle(settle_ms, settles)
            lengths.append(1 + self.warm_up(min_runs, min_s))
        return traces.summarize(events_of(self.session), lengths)


def events_of(session: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the runtime's own
    """What the profiler wrote, which ends with this."""
    trace = Path(session.end_profiling())
    events: list[dict[str, Any]] = json.loads(trace.read_text(encoding="utf-8"))
    trace.unlink()
    return events

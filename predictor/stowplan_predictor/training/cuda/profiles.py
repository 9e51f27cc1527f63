"""Networks under torch's profiler: runs recorded, and the record joined to the compiler's own list of kernels (`traces`)."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.training.cuda import traces
from stowplan_predictor.training.cuda.compilers import Prepared

_PROFILED_RUNS: Final = 10


def profiled(run: Callable[[], Any]) -> tuple[traces.ProfiledRun, ...]:
    """Some runs, each marked and waited for.

    Raises:
        RuntimeRefused: no kernel was recorded.
    """
    from torch.profiler import ProfilerActivity, profile, record_function  # noqa: PLC0415

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True) as profiler:
        for _ in range(_PROFILED_RUNS):
            with record_function(traces.RUN_MARK):
                run()
            torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        found = traces.profiled_runs(json.loads(path.read_text(encoding="utf-8"))["traceEvents"])
    if not any(item.launches for item in found):
        raise RuntimeRefused("the profiler recorded no CUDA kernel: is CUPTI allowed here (NVreg_RestrictProfilingToAdminUsers)?")
    return found


def compiled_kernels(prepared: Prepared, runs: tuple[traces.ProfiledRun, ...]) -> list[dict[str, Any]]:
    """Calls of the compiler in order, with the operators in each and what it took in each run; without durations where that cannot be told."""
    called = [(number, graph, kernel) for number, graph in enumerate(prepared.graphs) for kernel in graph.kernels]
    joined = [traces.join([kernel for _, _, kernel in called], run) for run in runs]
    return [
        {
            "graph": number, "position": position, "name": kernel.name, "source": "library" if kernel.is_library else "compiler",
            "operators": graph.operators_of(kernel), "nodes": kernel.nodes, "shapes": "",
            "durations_us": [item.duration_us for run in joined if (item := run[position]) is not None],
            "launches": next((item.launches for run in joined if (item := run[position]) is not None), ()),
        }
        for position, (number, graph, kernel) in enumerate(called)
    ]  # fmt: skip


def eager_kernels(runs: tuple[traces.ProfiledRun, ...]) -> list[dict[str, Any]]:
    """Operators that launched something, by position.

    Raises:
        RuntimeRefused: runs differ in the operators that they call.
    """
    called = [traces.eager_kernels(run) for run in runs]
    names = [[caller.name for caller, _ in run] for run in called]
    if any(item != names[0] for item in names):
        raise RuntimeRefused("the runs of this network differ from each other in the operators that they call")
    return [
        {
            "graph": 0, "position": position, "name": caller.name, "source": "library", "operators": (caller.name,), "nodes": (), "shapes": caller.shapes,
            "durations_us": [run[position][1].duration_us for run in called], "launches": timed.launches,
        }
        for position, (caller, timed) in enumerate(called[0])
    ]  # fmt: skip

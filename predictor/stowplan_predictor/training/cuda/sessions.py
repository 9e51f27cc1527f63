"""What a measured process does with torch on the GPU: describes it, measures networks and blocks, keeps one busy. Plain values in, plain values out."""

import importlib.util
import json
import select
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final

import torch

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.training.cuda import compilers, modules, random_kernels, timings, traces
from stowplan_predictor.training.cuda.compilers import Prepared

_DEVICE: Final = "cuda"
_PROFILED_RUNS: Final = 10


def describe() -> dict[str, Any]:
    """What torch sees; `why` where it sees no device."""
    answer: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda, "cuda_available": False}
    triton = importlib.util.find_spec("triton")
    if not torch.cuda.is_available():
        try:
            torch.cuda.init()
        except Exception as error:  # noqa: BLE001 - torch's own words are the answer
            answer["why"] = str(error)[:200]
        return answer
    found = torch.cuda.get_device_properties(0)
    return answer | {
        "cuda_available": True, "name": found.name, "multiprocessors": found.multi_processor_count, "compute_capability": f"{found.major}.{found.minor}",
        "memory_bytes": found.total_memory, "triton": importlib.import_module("triton").__version__ if triton else None, "green_contexts": _green_supported(),
    }  # fmt: skip


def measure(
    *, runtime: str, network: str = "", seed: int | None = None, count: int = 0, kernels: bool = True, green_multiprocessors: int = 0
) -> dict[str, Any]:
    """A network of the zoo, or a block of random kernels, from end to end and, where asked for, kernel by kernel.

    Raises:
        RuntimeRefused: it does not run.
    """
    _plain_precision()
    family, batch = f"random-block-{seed}", 0
    if seed is None:
        module, inputs, entry = modules.network(network)
        family, batch = entry.family, entry.batch
    else:
        module, inputs = modules.block(random_kernels.block(seed, count))
    prepared = compilers.prepare(module, inputs, runtime, _DEVICE, provenance=kernels)
    with _within(green_multiprocessors):
        times = timings.measure(prepared.run, graphs=not green_multiprocessors)
        outputs = _checksums(prepared.run())
    found: dict[str, Any] = {
        "family": family, "batch": batch, "wall_ms": times.wall_ms, "device_ms": times.device_ms, "method": times.method, "steady": times.steady,
        "note": times.note, "compile_s": prepared.compile_s, "output_sum": outputs[0], "output_abs_sum": outputs[1],
        "multiprocessors": green_multiprocessors or torch.cuda.get_device_properties(0).multi_processor_count,
    }  # fmt: skip
    if kernels:
        runs = _profiled(prepared.run)
        found["graphs"] = [{"nodes": [asdict(node) for node in graph.nodes.values()]} for graph in prepared.graphs]
        found["kernels"] = _compiled_kernels(prepared, runs) if prepared.graphs else _eager_kernels(runs)
    return found


def opened(*, runtime: str, network: str) -> Callable[[], Any]:
    """A network ready to run.

    Raises:
        RuntimeRefused: it does not run.
    """
    _plain_precision()
    module, inputs, _ = modules.network(network)
    return compilers.prepare(module, inputs, runtime, _DEVICE, provenance=False).run


def spin(run: Callable[[], Any], until: IO[str]) -> dict[str, Any]:
    """Runs without rest until something can be read there; the line is taken off."""
    began, runs = time.monotonic(), 0
    while not select.select([until], [], [], 0)[0]:
        run()
        torch.cuda.synchronize()
        runs += 1
    took_s = time.monotonic() - began
    until.readline()
    return {"runs": runs, "seconds": took_s}


def _plain_precision() -> None:
    # float32 as it is written: TensorFloat-32 is another precision, and what nobody measured stays unknown.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _checksums(outputs: Any) -> tuple[float, float]:  # noqa: ANN401 - tensors in whatever a network returns
    tensors = list(_tensors(outputs))
    return sum(float(item.double().sum()) for item in tensors), sum(float(item.double().abs().sum()) for item in tensors)


def _tensors(value: Any) -> Iterator[Any]:  # noqa: ANN401
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _profiled(run: Callable[[], Any]) -> tuple[traces.ProfiledRun, ...]:
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


def _compiled_kernels(prepared: Prepared, runs: tuple[traces.ProfiledRun, ...]) -> list[dict[str, Any]]:
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


def _eager_kernels(runs: tuple[traces.ProfiledRun, ...]) -> list[dict[str, Any]]:
    """Operators that launched something, by position: only where every run called the same ones."""
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


def _green_supported() -> bool:
    try:
        from torch.cuda import green_contexts  # noqa: PLC0415
    except ImportError:
        return False
    return bool(getattr(green_contexts, "SUPPORTED", False))


@contextmanager
def _within(multiprocessors: int) -> Iterator[None]:
    """On so many multiprocessors, by a green context; on whatever the process has where that is 0."""
    if not multiprocessors:
        yield
        return
    from torch.cuda.green_contexts import GreenContext  # noqa: PLC0415

    context = GreenContext.create(num_sms=multiprocessors, device_id=0)
    context.set_context()
    try:
        yield
    finally:
        context.pop_context()

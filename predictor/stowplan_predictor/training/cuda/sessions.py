"""What a measured process does with torch on the GPU: describes it, measures networks and blocks, keeps one busy. Plain values in, plain values out."""

import importlib.util
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any, Final

import torch

from stowplan_predictor.training.cuda import compilers, modules, profiles, random_kernels, timings
from stowplan_predictor.training.cuda.compilers import Prepared

_DEVICE: Final = "cuda"


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


@dataclass(frozen=True, slots=True)
class Ready:
    """A network or a block that runs, and is not timed yet."""

    prepared: Prepared
    family: str
    batch: int
    kernels: bool


def prepare(*, runtime: str, network: str = "", seed: int | None = None, count: int = 0, kernels: bool = True) -> Ready:
    """A network of the zoo, or a block of random kernels, built and compiled; with `kernels`, so that it can be told kernel by kernel.

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
    return Ready(compilers.prepare(module, inputs, runtime, _DEVICE, provenance=kernels), family, batch, kernels)


def measure(ready: Ready, *, green_multiprocessors: int = 0) -> dict[str, Any]:
    """From end to end and, where it was prepared for that, kernel by kernel.

    Raises:
        RuntimeRefused: it does not run.
    """
    prepared = ready.prepared
    with _within(green_multiprocessors):
        times = timings.measure(prepared.run, graphs=not green_multiprocessors)
        outputs = _checksums(prepared.run())
    found: dict[str, Any] = {
        "family": ready.family, "batch": ready.batch, "wall_ms": times.wall_ms, "device_ms": times.device_ms, "method": times.method, "steady": times.steady,
        "note": times.note, "compile_s": prepared.compile_s, "output_sum": outputs[0], "output_abs_sum": outputs[1],
        "multiprocessors": green_multiprocessors or torch.cuda.get_device_properties(0).multi_processor_count,
    }  # fmt: skip
    if ready.kernels:
        runs = profiles.profiled(prepared.run)
        found["graphs"] = [{"nodes": [asdict(node) for node in graph.nodes.values()]} for graph in prepared.graphs]
        found["kernels"] = profiles.compiled_kernels(prepared, runs) if prepared.graphs else profiles.eager_kernels(runs)
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

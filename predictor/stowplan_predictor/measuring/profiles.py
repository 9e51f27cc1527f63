"""Kernel by kernel: what the runtime really ran, how long each took, and the optimised graph that says which operators it is made of."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from stowplan_fleet.slices import Slice

from stowplan_predictor.measuring import networks, processes, structures
from stowplan_predictor.measuring.locks import machine_lock
from stowplan_predictor.measuring.networks import NetworkMeasurement, SampleRules
from stowplan_predictor.measuring.references import Reference

# Profiled runs at least; networks that are fast take more, within the seconds below.
_RUNS: Final = 20
_MAX_S: Final = 0.3
# A profile whose kernels do not add up to the end-to-end median within this share is taken once more; the one that agrees better is kept.
_AGREEMENT: Final = 0.12
_ATTEMPTS: Final = 2
# What the profiler adds to each kernel, about; only to judge agreement, never taken off a time.
_PROFILER_US: Final = 1.0


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel; times in microseconds, as the profiler gives them (about one too many)."""

    position: int
    node: str
    op_type: str
    domain: str
    outputs: tuple[str, ...]
    """Tensor names in the optimised graph; empty where that graph has no such node, or several."""
    provider: str
    median_us: float
    p25_us: float
    p75_us: float
    runs: int


@dataclass(frozen=True, slots=True)
class KernelProfile:
    """A network, end to end without the profiler and kernel by kernel with it."""

    end_to_end: NetworkMeasurement
    kernels: tuple[KernelTime, ...]
    optimized_structure: bytes
    """The optimised model without its weights."""

    @property
    def sum_ms(self) -> float:
        """Sum of the kernels' medians; against `end_to_end.distribution.median_ms` it tells what the profiler adds and what lies between kernels."""
        return sum(kernel.median_us for kernel in self.kernels) / 1e3

    @property
    def disagreement(self) -> float:
        """How far the kernels' sum, less what the profiler adds, lies from the end-to-end median, relatively."""
        median_ms = self.end_to_end.distribution.median_ms
        return abs(self.sum_ms - len(self.kernels) * _PROFILER_US / 1e3 - median_ms) / median_ms


def kernel_times(summary: Mapping[str, Any], optimized: onnx.ModelProto) -> tuple[KernelTime, ...]:
    """A worker's summary joined with the nodes of the optimised graph by node name."""
    nodes: dict[str, onnx.NodeProto | None] = {}
    for node in optimized.graph.node:
        nodes[node.name] = None if node.name in nodes else node
    kernels = []
    for position, kernel in enumerate(summary["kernels"]):
        node = nodes.get(kernel["node"])
        domain, outputs = (node.domain, tuple(name for name in node.output if name)) if node is not None else ("", ())
        kernels.append(KernelTime(position=position, domain="" if domain == "ai.onnx" else domain, outputs=outputs, **kernel))
    return tuple(kernels)


def profiled(worker: processes.Worker, end_to_end: NetworkMeasurement) -> KernelProfile:
    """Profiles a network that is open in a worker and was measured there."""
    stripped, nearest = b"", None
    for _ in range(_ATTEMPTS):
        with tempfile.TemporaryDirectory() as folder:
            summary = worker.ask("profile", timeout_s=180, folder=folder, runs=_RUNS, max_s=_MAX_S, save_optimized=not stripped)
            stripped = stripped or structures.strip_weights((Path(folder) / "optimized.onnx").read_bytes())
        profile = KernelProfile(end_to_end, kernel_times(summary, onnx.load_model_from_string(stripped)), stripped)
        if nearest is None or profile.disagreement < nearest.disagreement:
            nearest = profile
        if nearest.disagreement <= _AGREEMENT:
            break
    assert nearest is not None  # noqa: S101 - there is at least one attempt
    return nearest


def profile_kernels(
    onnx_model: bytes | Path,
    slice: Slice,  # noqa: A002 - the word of the house
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    best: Reference | None = None,
    rules: SampleRules | None = None,
    wait_s: float = 600.0,
    on_wait: Callable[[str], None] | None = None,
) -> KernelProfile:
    """Measures a network end to end and then, in the same process, kernel by kernel.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        CgroupUnavailable: the slice is fractional and no quota can be set here.
        RuntimeRefused: the runtime cannot run the network.
    """
    with machine_lock(wait_s, on_wait), networks.model_file(onnx_model) as path, networks.opened(path, slice, input_shapes or {}) as (worker, answer):
        return profiled(worker, networks.measurement_of(slice, worker, answer, rules or SampleRules(), best))

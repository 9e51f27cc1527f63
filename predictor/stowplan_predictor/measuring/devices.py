"""What a CPU can do, as the runtime reaches it: cores, caches, instruction sets, sustained throughput, cost of dispatching a kernel.

Throughput is measured through ONNX Runtime itself (a large matrix product, chains of additions over more data than the caches hold), because that is the
ceiling that a network meets; a vendor's peak is not.
"""

import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stowplan_fleet.devices import CoreThroughput, CpuDevice, Provenance
from stowplan_fleet.slices import DeviceName

from stowplan_predictor.errors import MeasurementError
from stowplan_predictor.measuring import probes, processes
from stowplan_predictor.measuring.locks import machine_lock

# Extensions that ONNX Runtime's kernels (MLAS) choose by, in Linux' spelling.
_KERNEL_ISA: Final = frozenset({
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8",
    "amx_bf16", "asimd", "asimddp", "asimdhp", "fphp", "bf16", "i8mm", "sve", "sve2",
})  # fmt: skip
_CPUINFO: Final = Path("/proc/cpuinfo")
_CACHES: Final = Path("/sys/devices/system/cpu/cpu0/cache")
# Times that each throughput is measured; the median counts, the spread is reported.
_REPEATS: Final = 5
_VERSIONED: Final = ("onnxruntime", "onnx", "numpy", "stowplan")


@dataclass(frozen=True, slots=True)
class DeviceSurvey:
    """A descriptor and how far its repeats lay apart."""

    device: CpuDevice
    spreads: Mapping[str, float] = field(hash=False)
    """(Largest - smallest) / median of the repeats, by what was measured: `flops/1` (cores), `bandwidth/2`, `dispatch/Add`."""


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """Model text and the kernel-relevant instruction-set extensions, sorted, from /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in text.split("\n\n", maxsplit=1)[0].splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    model = fields.get("model name") or fields.get("CPU part") or platform.machine()
    # Virtual machines often hide the product: family and model then tell the generations apart.
    if not re.search(r"\d", model) and "cpu family" in fields and "model" in fields:
        model = f"{model} family {fields['cpu family']} model {fields['model']}"
    return model, tuple(sorted(flags & _KERNEL_ISA))


def default_name(model: str) -> DeviceName:
    """A label value from the CPU's model text, the same on every machine of that model.

    Raises:
        MeasurementError: the text holds nothing that a label value may hold.
    """
    plain = re.sub(r"\((?:R|TM|tm|r)\)|\bCPU\b|\bProcessor\b|@.*$|\b\d+-Core\b", " ", model)
    name = re.sub(r"[^A-Za-z0-9.]+", "-", plain).strip("-.")[:63].strip("-.")
    if not name:
        raise MeasurementError(f"no device name can be made of the CPU model {model!r}: name the device yourself")
    return DeviceName(name)


def parse_size(text: str) -> int:
    """Bytes from sysfs' `32K`, `1024K` or `32M`."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    text = text.strip()
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)


def cache_sizes(folder: Path = _CACHES) -> tuple[int, int, int]:
    """Bytes of the first core's data caches, level 1 to 3; 0 where sysfs shows none."""
    sizes = {1: 0, 2: 0, 3: 0}
    for index in sorted(folder.glob("index*")):
        if (index / "type").read_text(encoding="ascii").strip() != "Instruction":
            sizes[int((index / "level").read_text(encoding="ascii"))] = parse_size((index / "size").read_text(encoding="ascii"))
    return sizes[1], sizes[2], sizes[3]


def available_cores(cgroup_root: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole cores that this process may use: its affinity, bounded by a CPU quota of its container."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = (cgroup_root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (cgroup_root / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (cgroup_root / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return cores
    if quota in ("max", "-1"):
        return cores
    return max(1, min(cores, int(quota) // int(period)))


def core_counts(cores: int) -> tuple[int, ...]:
    """Counts to measure throughput at: powers of two, and all."""
    return tuple(sorted({1 << power for power in range(cores.bit_length()) if 1 << power <= cores} | {cores}))


@contextmanager
def _pinned(cores: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processes.placed_cpus(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _repeated(name: str, probe: Callable[[], float], spreads: dict[str, float]) -> float:
    values = [probe() for _ in range(_REPEATS)]
    median = statistics.median(values)
    spreads[name] = (max(values) - min(values)) / median if median > 0 else 0.0
    return median


def survey_device(name: str | None = None, wait_s: float = 600.0, on_wait: Callable[[str], None] | None = None) -> DeviceSurvey:
    """Measures this machine, alone, and says how far the repeats lay apart.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        DescriptorRefused: what was measured cannot be a CPU.
    """
    model, isa = parse_cpuinfo(_CPUINFO.read_text(encoding="utf-8"))
    l1d, l2, l3 = cache_sizes()
    cores = available_cores()
    spreads: dict[str, float] = {}
    throughputs = []
    with machine_lock(wait_s, on_wait):
        for count in core_counts(cores):
            with _pinned(count):
                flops = _repeated(f"flops/{count}", probes.MatrixProduct(count).flops_per_second, spreads)
                bandwidth = _repeated(f"bandwidth/{count}", probes.Additions(count, l3).bytes_per_second, spreads)
            throughputs.append(CoreThroughput(count, flops, bandwidth))
        with _pinned(1):
            dispatch = {op_type: _repeated(f"dispatch/{op_type}", probes.Chains(op_type).dispatch_us, spreads) for op_type in probes.DISPATCHED}
    versions = {package: importlib.metadata.version(package) for package in _VERSIONED} | {"linux": platform.release()}
    device = CpuDevice(
        name=DeviceName(name) if name else default_name(model),
        model=model,
        isa=isa,
        cores=cores,
        l1d_bytes=l1d,
        l2_bytes=l2,
        l3_bytes=l3,
        throughputs=tuple(throughputs),
        dispatch_us=dispatch,
        provenance=Provenance(host=platform.node(), date=processes.now_utc(), versions=versions),
    )
    return DeviceSurvey(device, spreads)


def measure_device(name: str | None = None, wait_s: float = 600.0, on_wait: Callable[[str], None] | None = None) -> CpuDevice:
    """The descriptor of this machine, in under 20 s on two cores; `name` is made of the CPU's model where none is given.

    Raises:
        MachineBusy: another measurement held the machine for over `wait_s`.
        DescriptorRefused: what was measured cannot be a CPU.
    """
    return survey_device(name, wait_s, on_wait).device

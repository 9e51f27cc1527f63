"""What a machine allows: its GPU by `nvidia-smi`, and for each part of the campaign whether it can be measured here, or why not.

The pure part judges; `probe` is the only function that asks the machine. It starts nothing that changes it.
"""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stowplan_fleet.gpus import catalogue

from stowplan_predictor.errors import DeviceUnavailable

_QUERIED: Final = (
    "name", "uuid", "driver_version", "memory.total", "mig.mode.current", "compute_mode", "persistence_mode", "clocks.sm", "clocks.max.sm", "power.limit",
    "temperature.gpu",
)  # fmt: skip
_NOT_TOLD: Final = frozenset({"", "n/a", "[n/a]", "[not supported]", "[unknown error]"})
_SMI_TIMEOUT_S: Final = 30.0
# What a driver may tell of a GPU on which nothing runs.
_IDLE_PERCENT: Final = 5.0
MPS_CONTROL: Final = "nvidia-cuda-mps-control"


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU, as `nvidia-smi` describes it; what it does not tell is None."""

    name: str
    uuid: str
    driver: str
    memory_mib: int | None
    mig_enabled: bool
    compute_mode: str
    clock_mhz: float | None
    max_clock_mhz: float | None
    power_limit_watts: float | None
    temperature_celsius: float | None
    mig_devices: tuple[tuple[str, str], ...] = ()
    """Profile and UUID of each MIG instance on it."""

    @property
    def product(self) -> str:
        """As GPU-feature-discovery would label it: blanks are dashes."""
        return "-".join(self.name.split())


@dataclass(frozen=True, slots=True)
class Torch:
    """What torch says in a fresh process on this machine."""

    version: str
    cuda: str | None
    """CUDA version that it was built with."""
    triton: str | None
    multiprocessors: int
    compute_capability: str
    green_contexts: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with a GPU."""

    gpu: Gpu
    torch: Torch
    has_mps_control: bool
    gpus: int = 1
    skips: Mapping[str, str] = field(default_factory=dict)
    """Why a part of the campaign cannot be measured here, by part: `inductor`, `mps`, `time`, `green`, `mig`, `clocks`."""


def parse_gpus(csv: str) -> list[Gpu]:
    """The answer to `nvidia-smi --query-gpu=... --format=csv,noheader,nounits`.

    Raises:
        DeviceUnavailable: it has another number of columns.
    """
    found = []
    for line in csv.strip().splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_QUERIED):
            raise DeviceUnavailable(f"nvidia-smi answered {len(cells)} columns where {len(_QUERIED)} were asked for: {line[:120]!r}")
        told = {key: None if cell.lower() in _NOT_TOLD else cell for key, cell in zip(_QUERIED, cells, strict=True)}
        found.append(
            Gpu(
                name=told["name"] or "", uuid=told["uuid"] or "", driver=told["driver_version"] or "", memory_mib=_whole(told["memory.total"]),
                mig_enabled=told["mig.mode.current"] == "Enabled", compute_mode=told["compute_mode"] or "", clock_mhz=_number(told["clocks.sm"]),
                max_clock_mhz=_number(told["clocks.max.sm"]), power_limit_watts=_number(told["power.limit"]),
                temperature_celsius=_number(told["temperature.gpu"]),
            )
        )  # fmt: skip
    return found


def parse_mig_devices(listing: str) -> tuple[tuple[str, str], ...]:
    """Profile and UUID of each MIG instance in the answer to `nvidia-smi -L`, of the first GPU."""
    found: list[tuple[str, str]] = []
    gpus = 0
    for line in listing.splitlines():
        text = line.strip()
        gpus += text.startswith("GPU ")
        if gpus == 1 and text.startswith("MIG ") and "UUID: " in text:
            found.append((text.split()[1], text.split("UUID: ")[1].rstrip(")")))
    return tuple(found)


def refuse_busy(utilization: str) -> None:
    """Refuses a GPU that somebody is using; one that does not tell (MIG is on) is taken.

    Args:
        utilization: the answer to `nvidia-smi --query-gpu=utilization.gpu`: percent of the last moments in which a kernel ran.

    Raises:
        DeviceUnavailable: somebody is.
    """
    busy = _number(utilization.strip())
    if busy is not None and busy > _IDLE_PERCENT:
        raise DeviceUnavailable(f"the GPU is busy ({busy:g} % of the last moments): whatever was measured beside that would be wrong; stop what runs there")


def parse_torch(answer: Mapping[str, Any]) -> Torch:
    """What a worker says of torch.

    Raises:
        DeviceUnavailable: torch sees no CUDA device there.
    """
    if answer.get("cuda_available") is not True:
        built = answer.get("cuda")
        why = (
            f"it was built for CUDA {built}, and finds no usable device: {answer.get('why') or 'is the driver installed?'}"
            if built
            else "it was built without CUDA"
        )
        raise DeviceUnavailable(
            f"torch {answer.get('version')} sees no CUDA device: {why}. On a machine with an NVIDIA GPU install the extra `train` with a CUDA build of torch "
            "(docs/gpu-campaign.md)"
        )
    return Torch(
        version=str(answer["version"]), cuda=str(answer["cuda"]), triton=answer.get("triton"), multiprocessors=int(answer["multiprocessors"]),
        compute_capability=str(answer["compute_capability"]), green_contexts=bool(answer.get("green_contexts")),
    )  # fmt: skip


def judge(gpu: Gpu, torch: Torch, *, has_mps_control: bool, gpus: int = 1) -> Machine:
    """The machine, with a reason for each part that cannot be measured there."""
    skips: dict[str, str] = {}
    if torch.triton is None:
        skips["inductor"] = "triton is not installed, and inductor makes no CUDA kernels without it"
    shared = _no_sharing(gpu)
    if not has_mps_control:
        skips["mps"] = f"{MPS_CONTROL} is not on the path: no MPS daemon can be started"
    elif shared:
        skips["mps"] = shared
    if shared:
        skips["time"] = shared
    if not torch.green_contexts:
        skips["green"] = "this build of torch has no green contexts (torch.cuda.green_contexts), or the driver is older than CUDA 12.4"
    elif "mps" not in skips:
        skips["green"] = "not needed: partitions are measured under MPS, which is what pods get"
    if not gpu.mig_enabled:
        known = catalogue.find(gpu.product)
        cannot = known is not None and known.mig is None
        skips["mig"] = "this GPU cannot be cut by MIG" if cannot else "MIG is off; the campaign changes no setting: cut the GPU and run again"
    elif not gpu.mig_devices:
        skips["mig"] = "MIG is on and no instance exists; the campaign changes no setting: make instances and run again"
    return Machine(gpu, torch, has_mps_control, gpus, skips)


def _no_sharing(gpu: Gpu) -> str | None:
    if gpu.mig_enabled:
        return "MIG is on: processes share instances, not the GPU"
    if gpu.compute_mode not in {"Default", ""}:
        return f"the GPU's compute mode is {gpu.compute_mode}: one process at a time; the campaign changes no setting"
    return None


def smi(*arguments: str) -> str:
    """What `nvidia-smi` prints.

    Raises:
        DeviceUnavailable: it is not there, fails, or does not end.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise DeviceUnavailable("nvidia-smi is not on the path: this machine has no NVIDIA driver, so no GPU can be measured here (docs/gpu-campaign.md)")
    try:
        run = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=_SMI_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeviceUnavailable(f"nvidia-smi did not answer within {_SMI_TIMEOUT_S:g} s; is the GPU lost?") from error
    if run.returncode:
        raise DeviceUnavailable(f"nvidia-smi failed with status {run.returncode}: {(run.stderr or run.stdout).strip()[:200]}")
    return run.stdout


def read_gpus() -> list[Gpu]:
    """The GPUs of this machine.

    Raises:
        DeviceUnavailable: there is none.
    """
    found = parse_gpus(smi(f"--query-gpu={','.join(_QUERIED)}", "--format=csv,noheader,nounits"))
    if not found:
        raise DeviceUnavailable("nvidia-smi lists no GPU")
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _whole(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if number is not None else None

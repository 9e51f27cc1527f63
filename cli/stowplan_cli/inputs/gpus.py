"""GPUs as they are named on the command line: a product of the catalogue, its slices, and what a table shows of them."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import contextlib
from typing import TYPE_CHECKING, Any, Final

from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stowplan_fleet.devices import GpuDevice
    from stowplan_fleet.gpus.catalogue import Gpu
    from stowplan_fleet.slices import Slice

# Whose latency is predicted on a GPU where no runtime is named.
RUNTIME: Final = "torch-eager"
# Most replicas of a GPU that NVIDIA's device plugin takes (v0.20.0).
_MOST_REPLICAS: Final = 48
# Shared slices that are predicted where none is named: what people set up first.
_USUAL: Final = ("mps-50", "mps-25", "time-2", "time-4")


def device_named(name: str) -> "GpuDevice | None":
    """The GPU of that name, in any driver's or cloud's spelling; None where the catalogue has none."""
    from stowplan_fleet.devices import GpuDevice
    from stowplan_fleet.gpus.catalogue import find
    from stowplan_fleet.slices import DeviceName

    found = find(name)
    return GpuDevice(DeviceName(found.product)) if found else None


def usual_slices(device: "GpuDevice") -> list["Slice"]:
    """The slices to predict for where none was named: the whole GPU, its MIG profiles without media engines, some shares."""
    from stowplan_fleet.slices import parse_slice

    gpu = _gpu(device)
    profiles = [f"mig-{item.profile}" for item in (gpu.mig.profiles if gpu.mig else ()) if not item.profile.endswith(".me")]
    return [parse_slice(text) for text in ("full", *profiles, *_USUAL)]


def check_slices(device: "GpuDevice", parts: "Sequence[Slice]") -> list[str]:
    """Refuses slices that the GPU does not have; notes on those that exist and that no node offers.

    Raises:
        Refused: it has no such slice; the message names what it has.
    """
    from stowplan_fleet.errors import ShareRefused
    from stowplan_fleet.gpus.shares import doubt_of, share_of
    from stowplan_fleet.slices import SliceKind, mps_percent

    gpu, notes = _gpu(device), []
    equal = sorted({mps_percent(replicas) for replicas in range(2, _MOST_REPLICAS + 1)} | {100}, reverse=True)
    for part in parts:
        known = part.kind in {SliceKind.FULL, SliceKind.MPS, SliceKind.TIME} or (part.kind is SliceKind.MIG and gpu.profile(part.profile) is not None)
        if not known:
            raise Refused(f"--slice {part}: {gpu.product} has no such slice; it has {classes_of(gpu)}")
        if part.kind is SliceKind.MPS and int(part.profile) not in equal:
            shown = ", ".join(map(str, equal[1:9]))
            notes.append(f"{part}: no node offers it through NVIDIA's device plugin, which shares a GPU in equal parts only ({shown} and less)")
        with contextlib.suppress(ShareRefused):  # said beside its answer
            doubt = doubt_of(gpu, part, share_of(device, part).multiprocessors)
            notes += [f"{part}: {doubt}"] if doubt else []
    return notes


def classes_of(gpu: "Gpu") -> str:
    """The slice classes of a GPU, in a phrase."""
    profiles = ", ".join(f"mig-{item.profile}" for item in gpu.mig.profiles) if gpu.mig else "no MIG"
    return f"full, {profiles}, mps-PERCENT and time-REPLICAS"


def described(device: "GpuDevice") -> dict[str, Any]:
    """A GPU as plain JSON: as the catalogue has it."""
    gpu = _gpu(device)
    return {
        "name": gpu.product, "computeCapability": gpu.compute_capability, "multiprocessors": gpu.multiprocessors, "memoryBytes": gpu.memory_bytes,
        "bandwidthBytesPerSecond": gpu.bandwidth_bytes_per_second, "l2Bytes": gpu.l2_bytes, "fp32FlopsPerSecond": gpu.fp32_flops_per_second,
    }  # fmt: skip


def resources(device: "GpuDevice", part: "Slice") -> str:
    """Multiprocessors, memory and bandwidth of a slice for a table's cell; what nobody published is a question mark."""
    from stowplan_fleet.errors import ShareRefused
    from stowplan_fleet.gpus.shares import share_of

    try:
        share = share_of(device, part)
    except ShareRefused:
        return "?"
    turns = f", {share.time_share:.0%} of the time" if share.time_share < 1 else ""
    return f"{share.multiprocessors} SMs, {share.memory_bytes / 2**30:.0f} GiB{'' if share.isolated else ', shared'}{turns}"


def _gpu(device: "GpuDevice") -> "Gpu":
    from stowplan_fleet.gpus.catalogue import find

    found = find(device.name)
    if found is None:  # pragma: no cover - only `device_named` makes these
        raise Refused(f"{device.name}: not in the catalogue; `stowplan slices` lists what is")
    return found

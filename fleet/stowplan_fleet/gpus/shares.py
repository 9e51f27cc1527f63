"""What a slice of a GPU has to run on: streaming multiprocessors, memory, and shares of bandwidth, cache and time.

Sources: MIG instances own memory slices with their share of bandwidth and L2 (NVIDIA A100 whitepaper, "MIG"; an H200's 3g.71gb reports exactly 4/8 of the
bandwidth beside 60 of 132 multiprocessors). An MPS percentage is a cap on multiprocessors, rounded down to what the hardware can limit; bandwidth and L2 are
shared with everybody. Time slices take turns on the whole GPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.devices import GpuDevice
from stowplan_fleet.errors import ShareRefused
from stowplan_fleet.gpus.catalogue import Gpu, find
from stowplan_fleet.slices import Slice, SliceKind

_MIB: Final = 1 << 20
# Fewest multiprocessors of an MPS client where it was measured, by major compute capability (7.5: a T4; 9 and 10: H200, B200).
_MPS_FEWEST: Final[Mapping[tuple[int, int], int]] = {(7, 5): 2, (9, 0): 8, (10, 0): 8}
# Nowhere was it larger: at or above this many the floor does not matter, whatever it is.
_MPS_FEWEST_ANYWHERE: Final = 8
# Numbers of multiprocessors that an active-thread percentage left on an H200 where half-precision matrix products of cuBLAS 12.6.4.1 and later were silently
# wrong (one correctness report, measured 2026-10-02; single precision, MIG and B200 were right there; H100 was not tested).
_DOUBTFUL_ON_HOPPER: Final = (range(18, 29), range(36, 61), range(68, 117))
_HOPPER: Final = (9, 0)


@dataclass(frozen=True, slots=True)
class GpuShare:
    """A slice of a GPU in physical terms."""

    product: str
    slice: Slice
    multiprocessors: int
    """That a kernel of this slice may use."""
    device_multiprocessors: int
    memory_bytes: int
    """That the slice may fill; of a shared GPU its equal part under MPS, all of it under time slicing (nothing enforces less)."""
    bandwidth_bytes_per_second: float
    """Peak that it may reach while its neighbours are quiet."""
    l2_bytes: int
    clock_mhz: float
    flops_per_second: float
    """Peak of its multiprocessors, single precision without tensor cores."""
    time_share: float
    """Of the time, while every replica is busy; 1 where nobody takes turns."""
    isolated: bool
    """True where bandwidth and cache are its own: a whole GPU, or a MIG instance."""


def mps_multiprocessors(gpu: Gpu, percent: int, total: int | None = None) -> int:
    """Multiprocessors that an active-thread percentage leaves: max(fewest, 2 x floor(total x percent / 200)).

    The formula fits every percentage measured on an H200 (all 100), a B200 and a T4. The fewest is known for those only.

    Raises:
        ShareRefused: not a percentage, or so small that the unknown fewest would decide.
    """
    if not 1 <= percent <= 100:
        raise ShareRefused(f"{percent} is no percentage of active threads; name 1 to 100")
    count = gpu.multiprocessors if total is None else total
    if percent == 100:
        return count
    limited = 2 * (count * percent // 200)
    fewest = _MPS_FEWEST.get(gpu.generation)
    if fewest is None and limited < _MPS_FEWEST_ANYWHERE:
        raise ShareRefused(
            f"{percent} % of {count} multiprocessors is below the least that MPS grants, and that least was never measured on a {gpu.product}; take more"
        )
    return max(fewest or 0, limited)


def doubt_of(gpu: Gpu, which: Slice, multiprocessors: int) -> str | None:
    """Why results on a slice may be wrong, not slow; None where nobody reported such a thing."""
    if which.kind is SliceKind.MPS and gpu.generation == _HOPPER and any(multiprocessors in doubtful for doubtful in _DOUBTFUL_ON_HOPPER):
        return (
            f"at {multiprocessors} multiprocessors under MPS, half-precision results of cuBLAS 12.6.4.1 and later were reported wrong on an H200 "
            "(one report, 2026-10-02); check outputs before you serve there"
        )
    return None


def share_of(device: GpuDevice, which: Slice) -> GpuShare:
    """What that slice of that GPU has; what the node itself tells wins over the catalogue.

    Raises:
        ShareRefused: the model is not in the catalogue, has no such slice, or a size of it is known to nobody.
    """
    gpu = find(device.name)
    if gpu is None:
        raise ShareRefused(f"GPU {device.name} is not in the catalogue; `stowplan slices` lists what is")
    total = device.multiprocessors or gpu.multiprocessors
    memory = device.memory_bytes or gpu.memory_bytes
    match which.kind:
        case SliceKind.FULL:
            return _share(gpu, which, total, total, memory)
        case SliceKind.MIG:
            return _instance(gpu, device, which)
        case SliceKind.MPS:
            percent = int(which.profile)
            return _share(gpu, which, mps_multiprocessors(gpu, percent, total), total, memory * percent // 100, isolated=percent == 100)
        case SliceKind.TIME:
            return _share(gpu, which, total, total, memory, time_share=1 / int(which.profile), isolated=which.profile == "1")
        case _:
            raise ShareRefused(f"{which} is no slice of a GPU, and {device.name} is one; write full, mig-1g.10gb, mps-25 or time-4")


def _instance(gpu: Gpu, device: GpuDevice, which: Slice) -> GpuShare:
    profile = gpu.profile(which.profile)
    if gpu.mig is None or profile is None:
        known = ", ".join(item.profile for item in gpu.mig.profiles) if gpu.mig else "it cannot be cut by MIG"
        raise ShareRefused(f"GPU {gpu.product} has no MIG profile {which.profile} ({known})")
    told = device.instances.get(which.profile)
    multiprocessors = (told.multiprocessors if told else None) or profile.multiprocessors
    if multiprocessors is None:
        raise ShareRefused(
            f"how many multiprocessors a {which.profile} of a {gpu.product} has was published nowhere; "
            f"a node's label nvidia.com/mig-{which.profile}.multiprocessors tells it"
        )
    part = profile.memory_slices / gpu.mig.memory_slices
    # The profile's own name tells gigabytes where neither the node nor NVML's tables do; rounded up, so that all of a layout can come to more than there is.
    named = min(int(which.profile.split(".")[1].removesuffix("gb")) << 30, int(gpu.memory_bytes * part))
    memory = (told.memory_bytes if told else None) or (profile.memory_mib * _MIB if profile.memory_mib else named)
    return _share(gpu, which, multiprocessors, gpu.multiprocessors, memory, part=part)


def _share(
    gpu: Gpu, which: Slice, multiprocessors: int, total: int, memory_bytes: int, *, part: float = 1.0, time_share: float = 1.0, isolated: bool = True
) -> GpuShare:
    return GpuShare(
        product=gpu.product,
        slice=which,
        multiprocessors=multiprocessors,
        device_multiprocessors=total,
        memory_bytes=memory_bytes,
        bandwidth_bytes_per_second=gpu.bandwidth_bytes_per_second * part,
        l2_bytes=int(gpu.l2_bytes * part),
        clock_mhz=gpu.boost_clock_mhz,
        flops_per_second=gpu.fp32_flops_per_second * multiprocessors / gpu.multiprocessors,
        time_share=time_share,
        isolated=isolated,
    )

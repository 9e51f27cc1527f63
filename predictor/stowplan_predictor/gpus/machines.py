"""Machines: a slice of a GPU in the numbers that bound a kernel's time."""

from dataclasses import dataclass, replace
from typing import Final

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.devices import GpuDevice
from stowplan_fleet.errors import ShareRefused
from stowplan_fleet.gpus.catalogue import Gpu, find
from stowplan_fleet.gpus.shares import GpuShare, share_of
from stowplan_fleet.slices import Slice

from stowplan_predictor.errors import CannotJudge

# A stack of memory beside the chip has a bus of 1024 bits or more for each; graphics memory has 32 a chip, 384 at most.
_STACKED_BITS: Final = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """A GPU, or a slice of one."""

    product: str
    multiprocessors: int
    flops_per_second: float
    """Peak of those multiprocessors, single precision without tensor cores."""
    bandwidth_bytes_per_second: float
    l2_bytes: float
    clock_hz: float
    """Boost."""
    watts: float
    """That the whole GPU may draw."""
    peak_flops_per_second: float
    """Of the whole GPU."""
    generation: tuple[int, int]
    """Compute capability."""
    stacked_memory: bool
    """True for memory stacks beside the chip (HBM), False for graphics memory (GDDR)."""


def machine_of(gpu: Gpu) -> Machine:
    """A whole GPU as the catalogue has it."""
    return Machine(
        product=gpu.product,
        multiprocessors=gpu.multiprocessors,
        flops_per_second=float(gpu.fp32_flops_per_second),
        bandwidth_bytes_per_second=float(gpu.bandwidth_bytes_per_second),
        l2_bytes=float(gpu.l2_bytes),
        clock_hz=gpu.boost_clock_mhz * 1e6,
        watts=gpu.power_watts,
        peak_flops_per_second=float(gpu.fp32_flops_per_second),
        generation=gpu.generation,
        stacked_memory=gpu.memory_bus_bits >= _STACKED_BITS,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A slice, and the whole GPU it is cut from."""

    whole: Machine
    part: Machine
    share: GpuShare

    @property
    def cut(self) -> bool:
        """True where the slice has less of anything than the whole GPU, while nobody else is there."""
        return self.part != self.whole


def place(device: GpuDevice, which: Slice) -> Place:
    """Where a slice of a GPU runs; what a node's labels tell wins over the catalogue.

    Raises:
        CannotJudge: the GPU is not in the catalogue, has no such slice, or a size of it is known to nobody.
    """
    gpu = find(device.name)
    if gpu is None:
        raise CannotJudge(UnknownReason.DEVICE_NOT_SUPPORTED, f"GPU {device.name} is not in the catalogue; `stowplan slices` lists what is")
    try:
        share = share_of(device, which)
    except ShareRefused as error:
        raise CannotJudge(UnknownReason.SLICE_NOT_SUPPORTED, str(error)) from error
    whole = machine_of(gpu)
    part = replace(
        whole,
        multiprocessors=share.multiprocessors,
        flops_per_second=share.flops_per_second,
        bandwidth_bytes_per_second=share.bandwidth_bytes_per_second,
        l2_bytes=float(share.l2_bytes),
    )
    return Place(whole, part, share)

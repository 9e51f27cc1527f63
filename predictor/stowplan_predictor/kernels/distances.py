"""How far a device or slice is from those measured, and what may still be said of it.

The rule. d = the largest |log ratio| over sustained FLOP/s and bandwidth (one core, and every core count both descriptors have) and cache sizes.
* d <= log 1.25 and the same instruction sets: as measured. The repeats of one run of `stowplan device` already spread by up to 15 % (bandwidth of one
  core on a virtual machine), so descriptors of one machine may differ by about that in either direction.
* up to a factor of 8, and at least one instruction-set extension in common: extrapolated.
* beyond: no judgement. At a factor of 8 the interval already spans a factor of 64; a number that vague would only look like knowledge.

The interval is widened by d on both sides, because d is all the physics can be wrong by: a latency that scales fully with the descriptor and one that
does not scale with it at all differ by exactly that factor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.resources import SliceResources

SAME_DEVICE_LOG: Final = math.log(1.25)
FARTHEST_LOG: Final = math.log(8.0)
# More threads than ever measured: each doubling may gain nothing, hence the same factor. Four times the measured count is two untested doublings.
MOST_THREADS_FACTOR: Final = 4
# Below a tenth of a core the quota is under 10 ms a period, near the 5 ms slices in which the kernel hands it out (sched_cfs_bandwidth_slice_us):
# a fluid share is no longer a fair description.
LEAST_MILLICORES: Final = 100


@dataclass(frozen=True, slots=True)
class Distance:
    """How far from what was measured."""

    log_factor: float = 0.0
    """By how much an interval widens on both sides, as a logarithm."""
    reasons: tuple[str, ...] = ()
    """Why this is an extrapolation; empty where it is not."""
    nearest: str = ""
    """Name of the measured device that it is the distance to; empty where no device is compared."""

    def __add__(self, other: "Distance") -> "Distance":
        return Distance(self.log_factor + other.log_factor, self.reasons + other.reasons, self.nearest or other.nearest)


def _log_ratios(device: CpuDevice, known: CpuDevice) -> list[tuple[str, float]]:
    counts = {point.cores: point for point in known.throughputs}
    pairs = [
        (f"{what} of {point.cores} cores", mine, theirs)
        for point in device.throughputs
        if (twin := counts.get(point.cores)) is not None
        for what, mine, theirs in (
            ("FLOP/s", point.flops_per_second, twin.flops_per_second),
            ("memory bandwidth", point.bandwidth_bytes_per_second, twin.bandwidth_bytes_per_second),
        )
    ]
    pairs += [(f"{name} cache", max(mine, 1), max(theirs, 1)) for name, mine, theirs in (
        ("L1d", device.l1d_bytes, known.l1d_bytes), ("L2", device.l2_bytes, known.l2_bytes), ("L3", device.l3_bytes, known.l3_bytes),
    )]  # fmt: skip
    return [(what, math.log(mine / theirs)) for what, mine, theirs in pairs]


def _distance(device: CpuDevice, known: CpuDevice) -> tuple[float, str, bool, str]:
    """Largest log ratio, what it is of, whether the instruction sets are the same, and the known device's name."""
    what, ratio = max(_log_ratios(device, known), key=lambda item: abs(item[1]))
    return abs(ratio), f"{what} is {math.exp(ratio):.2f} times that of {known.name}", set(device.isa) == set(known.isa), str(known.name)


def device_distance(device: CpuDevice, measured: Sequence[CpuDevice]) -> Distance:
    """Distance to the nearest measured device.

    Raises:
        CannotJudge: beyond the stated limits.
    """
    candidates = [known for known in measured if set(known.isa) & set(device.isa)]
    if not candidates:
        names = ", ".join(sorted({item for known in measured for item in known.isa}))
        raise CannotJudge(UnknownReason.DEVICE_NOT_SUPPORTED, f"device {device.name} shares no instruction-set extension with those measured ({names})")
    # Of devices that are equally near the one of the same name: a machine calibrated under a name of its own is meant by that name.
    distances = (_distance(device, known) for known in candidates)
    log_factor, why, same_isa, name = min(distances, key=lambda item: (not item[2], item[0], item[3] != str(device.name)))
    if log_factor > FARTHEST_LOG:
        limit = math.exp(FARTHEST_LOG)
        raise CannotJudge(UnknownReason.DEVICE_NOT_SUPPORTED, f"device {device.name}: {why}; beyond a factor of {limit:.0f} nothing is said")
    reasons = [f"device {device.name}: {why}"] if log_factor > SAME_DEVICE_LOG else []
    if not same_isa:
        reasons.append(f"device {device.name}: instruction sets differ from those measured")
    if device.fabricated:
        reasons.append(f"device {device.name}: its descriptor was made up for a test")
    return Distance(log_factor, tuple(reasons), name)


def slice_distance(slice_: SliceResources, measured_millicores: Sequence[int]) -> Distance:
    """Distance of a slice from those measured.

    Raises:
        CannotJudge: beyond the stated limits.
    """
    if slice_.millicores in measured_millicores:
        return Distance()
    most = max(-(-item // 1000) for item in measured_millicores)
    if slice_.threads > MOST_THREADS_FACTOR * most:
        raise CannotJudge(
            UnknownReason.SLICE_NOT_SUPPORTED,
            f"a slice of {slice_.threads} cores: at most {most} were measured, and nothing is said beyond {MOST_THREADS_FACTOR * most}",
        )
    if slice_.millicores < LEAST_MILLICORES:
        raise CannotJudge(UnknownReason.SLICE_NOT_SUPPORTED, f"a slice of {slice_.millicores} millicores: nothing is said below {LEAST_MILLICORES}")
    known = ", ".join(f"{item}m" for item in sorted(measured_millicores))
    # As with devices: a latency that scales fully with the cores and one that does not scale at all differ by the ratio to the nearest measured slice.
    nearest = min(abs(math.log(slice_.millicores / item)) for item in measured_millicores)
    return Distance(max(nearest, math.log(max(1.0, slice_.threads / most))), (f"a slice of {slice_.millicores}m cores was not measured (measured: {known})",))

"""Slices: a share of a device that one server process runs on, and the class of all that are equal.

A slice *class* is (device, kind, profile), because a Kubernetes resource name alone is ambiguous: `nvidia.com/gpu.shared` may be
a half or a tenth of a GPU, and `nvidia.com/mig-1g.10gb` has 14 SMs on an A100 and 16 on an H100.
Text forms: a slice is `cpu:1`, `cpu:500m`, `full`, `mig-1g.10gb`, `mps-25` (percent of the active threads) or `time-4` (replicas); a class is
`<device>/<slice>`. They are stable: users write them, annotations carry them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NewType

from stowplan_fleet import quantities
from stowplan_fleet.errors import QuantityRefused, SliceNameRefused

# Name of a device: a GPU's product as GPU-feature-discovery writes it, or a CPU descriptor's name. A valid label value either way.
DeviceName = NewType("DeviceName", str)

_DEVICE_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
# Profile text as in NVIDIA's MIG user guide, "Supported MIG Profiles"; `+me` becomes `.me` in a resource name.
_MIG_PROFILE: Final = re.compile(r"[1-7]g\.[0-9]{1,3}gb(?:[.+-][a-z.]{1,8})?")


def is_device_name(text: str) -> bool:
    """True for what can name a device: a valid, non-empty label value."""
    return _DEVICE_NAME.fullmatch(text) is not None


class SliceKind(StrEnum):
    """How a share of a device is cut and held."""

    CPU = "cpu"
    FULL = "full"
    MIG = "mig"
    MPS = "mps"
    TIME = "time"


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """A share of some device, the device not yet named."""

    kind: SliceKind
    profile: str = ""
    """What the kind needs to be exact: `2` or `500m` (CPU cores), `1g.10gb` (MIG), `25` (MPS percent), `4` (time-slicing replicas)."""

    def __str__(self) -> str:
        match self.kind:
            case SliceKind.CPU:
                return f"cpu:{self.profile}"
            case SliceKind.FULL:
                return "full"
            case _:
                return f"{self.kind.value}-{self.profile}"

    @property
    def cpu_millicores(self) -> int:
        """Cores of a CPU slice, in thousandths; 0 for other kinds."""
        return quantities.millicores(self.profile) if self.kind is SliceKind.CPU else 0


@dataclass(frozen=True, slots=True, order=True)
class SliceClass:
    """All slices that are equal: same device, same kind, same profile."""

    device: DeviceName
    slice: Slice

    def __str__(self) -> str:
        return f"{self.device}/{self.slice}"


def cpu_slice(millicores: int) -> Slice:
    """The CPU slice with that many thousandths of a core, in canonical spelling."""
    if not 1 <= millicores <= 1_024_000:
        raise SliceNameRefused(f"a CPU slice of {millicores} millicores: name between 1m and 1024 cores")
    return Slice(SliceKind.CPU, quantities.format_millicores(millicores))


def parse_slice(text: str) -> Slice:
    """Reads `cpu:1`, `cpu:500m`, `full`, `mig-1g.10gb`, `mps-25` or `time-4`.

    Raises:
        SliceNameRefused: it is none of those.
    """
    if text == "full":
        return Slice(SliceKind.FULL)
    head, separator, profile = text.partition(":")
    if head == "cpu" and separator:
        try:
            return cpu_slice(quantities.millicores(profile))
        except QuantityRefused as error:
            raise SliceNameRefused(f"slice {text[:64]!r}: {error}") from error
    head, _, profile = text.partition("-")
    if head == "mig" and _MIG_PROFILE.fullmatch(profile):
        # The resource name's spelling is the canonical one: `+` is no character of labels and resource names.
        return Slice(SliceKind.MIG, profile.replace("+", "."))
    if head == "mps" and re.fullmatch(r"[1-9][0-9]?|100", profile):
        return Slice(SliceKind.MPS, profile)
    if head == "time" and re.fullmatch(r"[1-9][0-9]?", profile):
        return Slice(SliceKind.TIME, profile)
    raise SliceNameRefused(f"{text[:64]!r} is not a slice: write cpu:1, cpu:500m, full, mig-1g.10gb, mps-25 (percent) or time-4 (replicas)")


# Read from every pod's annotations; names of devices are short and few.
@lru_cache(4096)
def parse_slice_class(text: str) -> SliceClass:
    """Reads `<device>/<slice>`.

    Raises:
        SliceNameRefused: the device or the slice is malformed.
    """
    device, separator, rest = text.partition("/")
    if not separator or not is_device_name(device):
        raise SliceNameRefused(f"{text[:128]!r} is not a slice class: write <device>/<slice>, such as NVIDIA-A100-SXM4-80GB/mig-1g.10gb")
    return SliceClass(DeviceName(device), parse_slice(rest))


def mps_percent(replicas: int) -> int:
    """Active-thread percentage that NVIDIA's device plugin sets for that many replicas of a GPU.

    `int(100 / replicas)` (k8s-device-plugin v0.20.0, cmd/mps-control-daemon/mps/daemon.go).
    """
    return 100 // replicas

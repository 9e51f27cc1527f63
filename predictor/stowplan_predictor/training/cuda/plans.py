"""Units of work of the GPU campaign, the most telling first; planned without a GPU, so that the plan can be read before one is rented.

A unit is what is kept or lost whole, under two minutes each. The order is one of value: whoever stops early has the best of what the time could give.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stowplan_fleet.slices import mps_percent

from stowplan_predictor.training.cuda.machines import Machine
from stowplan_predictor.training.zoo import entries as zoo

INDUCTOR: Final = "torch-inductor"
EAGER: Final = "torch-eager"
RUNTIMES: Final = (INDUCTOR, EAGER)

# Networks that partitions and pairs are measured with: small and large, convolutions and attention, memory-bound and compute-bound.
PARTITIONED: Final = (
    "resnet50-b1-s224",
    "mobilenet_v2-b1-s224",
    "vit_small_patch16_224-b1-s224",
    "bert-small-b1-s128",
    "efficientnet_b0-b4-s128",
    "vgg16-b1-s128",
)
_PAIRED: Final = (
    ("resnet50-b1-s224", "resnet50-b1-s224"), ("resnet50-b1-s224", "mobilenet_v2-b1-s224"), ("mobilenet_v2-b1-s224", "vgg16-b1-s128"),
    ("bert-small-b1-s128", "resnet50-b1-s224"), ("vit_small_patch16_224-b1-s224", "vit_small_patch16_224-b1-s224"), ("vgg16-b1-s128", "bert-small-b1-s128"),
)  # fmt: skip
# Replicas whose percentage is measured: those of the device plugin that people set up, and one in between.
_REPLICAS: Final = (4, 2, 10, 3, 5, 7)
_NETWORKS: Final = 40
_BLOCKS: Final = 16
# Specifications in one block: each compiles in well under a second beside the others.
KERNELS_IN_BLOCK: Final = 16
# Seconds a unit takes before the campaign knows better: compiling a network takes by far the longest (guesses; the campaign learns as it goes).
_EXPECTED_S: Final[Mapping[str, tuple[float, float]]] = {"network": (22.0, 4.0), "kernels": (25.0, 5.0), "partition": (60.0, 20.0), "pair": (25.0, 14.0)}


class Kind(StrEnum):
    """What a unit measures."""

    NETWORK = "network"
    """A network on the whole GPU, from end to end and kernel by kernel."""
    KERNELS = "kernels"
    """A block of random kernels likewise."""
    PARTITION = "partition"
    """All `PARTITIONED` networks on a part of the GPU's multiprocessors."""
    PAIR = "pair"
    """Two networks in two processes."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of work."""

    kind: Kind
    runtime: str
    subject: str
    """Network, seed of a block, partition, or `subject+neighbour`."""
    sharing: str = "full"
    """`full`, `mps-25`, `green-25` (percent of the multiprocessors), `mig-1g.10gb`, or `time-2`."""

    @property
    def key(self) -> str:
        """Unique, and stable over versions of the plan."""
        return f"{self.runtime}/{self.kind}/{self.subject}/{self.sharing}"

    @property
    def expected_s(self) -> float:
        """Before the campaign knows better."""
        compiled, eager = _EXPECTED_S[self.kind]
        return compiled if self.runtime == INDUCTOR else eager


def plan(runtime: str, skips: Mapping[str, str], mig_profiles: Sequence[str] = ()) -> tuple[Unit, ...]:
    """Every unit of a runtime that a machine allows, in order of value.

    Args:
        runtime: one of `RUNTIMES`.
        skips: parts that cannot be measured there, with their reasons.
        mig_profiles: of the instances that exist there; where there are any, the networks are measured on those instead of on the whole GPU.
    """
    if runtime == INDUCTOR and "inductor" in skips:
        return ()
    partitions, pairs = list(_partitions(runtime, skips, mig_profiles)), list(_pairs(runtime, skips))
    if mig_profiles:
        return tuple(partitions)
    networks = [Unit(Kind.NETWORK, runtime, entry.name) for entry in chosen()]
    blocks = [Unit(Kind.KERNELS, runtime, str(seed)) for seed in range(_BLOCKS)]
    # Two networks to a block of kernels, until both run out; partitions and pairs after the first third, so that a short campaign has all kinds.
    mixed: list[Unit] = []
    for position, unit in enumerate(networks):
        mixed.append(unit)
        if position % 2 and blocks:
            mixed.append(blocks.pop(0))
    third = len(mixed) // 3
    return (
        *mixed[:third],
        *partitions[:2],
        *pairs[: len(pairs) // 2],
        *mixed[third : 2 * third],
        *partitions[2:],
        *pairs[len(pairs) // 2 :],
        *mixed[2 * third :],
        *blocks,
    )


def chosen() -> tuple[zoo.Entry, ...]:
    """The zoo's networks that are measured: those of partitions first, then one of each family in a drawn but fixed order."""
    known = {entry.name: entry for entry in zoo.entries() if entry.split == "zoo"}
    first = [known[name] for name in PARTITIONED]
    families: dict[str, zoo.Entry] = {}
    for entry in known.values():
        families.setdefault(entry.family, entry)
    drawn = sorted((entry for entry in families.values() if entry not in first), key=lambda entry: zlib.crc32(entry.family.encode()))
    return tuple((first + drawn)[:_NETWORKS])


def allowed(runtime: str, machine: Machine) -> tuple[Unit, ...]:
    """The plan for a machine."""
    return plan(runtime, machine.skips, tuple(dict.fromkeys(profile for profile, _ in machine.gpu.mig_devices)))


def _partitions(runtime: str, skips: Mapping[str, str], mig_profiles: Sequence[str]) -> Iterator[Unit]:
    for profile in mig_profiles:
        yield Unit(Kind.PARTITION, runtime, "networks", f"mig-{profile.replace('+', '.')}")
    if mig_profiles:
        return
    how = next((name for name in ("mps", "green") if name not in skips), None)
    # Under a green context the compiled code runs as it is; both runtimes are measured either way.
    if how is not None:
        for replicas in _REPLICAS:
            yield Unit(Kind.PARTITION, runtime, "networks", f"{how}-{mps_percent(replicas)}")


def _pairs(runtime: str, skips: Mapping[str, str]) -> Iterator[Unit]:
    for subject, neighbour in _PAIRED:
        for part, sharing in (("mps", "mps-50"), ("time", "time-2")):
            if part not in skips:
                yield Unit(Kind.PAIR, runtime, f"{subject}+{neighbour}", sharing)

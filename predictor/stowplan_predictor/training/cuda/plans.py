"""Units of work of the GPU campaign, the most telling first; planned without a GPU, so that the plan can be read before one is rented.

A unit is what is kept or lost whole, two minutes each at most. The order is one of value: breadth of families before depth, some of every kind early; whoever
stops early, or whose budget is spent, has the best of what the time could give. What comes last is measured where time is left.
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
    "vgg11-b1-s224",
)
# Each beside each other one: twenty pairs a way of sharing, as many as an interval needs.
PAIRED: Final = ("resnet50-b1-s224", "mobilenet_v2-b1-s224", "vit_small_patch16_224-b1-s224", "bert-small-b1-s128", "vgg11-b1-s224")
# Networks that cannot be written as ONNX (the data card, `docs/data.md`, says why): their times could be joined with nothing.
NOT_EXPORTED: Final = frozenset({
    "bat_resnext26ts-b1-s160", "csatv2-b1-s512", "halonet26t-b1-s256", "nystromformer-mini-b1-s128", "pvt_v2_b2_li-b1-s160", "vgg11_bn-b2-s128",
    "vgg16-b1-s128", "vgg19_bn-b1-s112", "vit_b_32-b1-s224", "volo_d1_224-b1-s160",
})  # fmt: skip
# Replicas whose percentage is measured: those of the device plugin that people set up, and one in between.
_REPLICAS: Final = (4, 2, 10, 3, 5, 7)
_NETWORKS: Final = 40
_BLOCKS: Final = 16
_TURNS: Final = ((6, 2, 1, 1), (10, 2, 1, 1), (6, 2, 2, 0), (6, 4, 0, 0))
# Specifications in one block: each compiles in well under a second beside the others.
KERNELS_IN_BLOCK: Final = 16
# Seconds that a unit takes to be made ready (compiled; not compiled), and to be measured: guesses, since no GPU was ever measured. The campaign
# learns as it goes.
_EXPECTED_S: Final[Mapping[str, tuple[float, float, float]]] = {
    "network": (26.0, 10.0, 6.0), "kernels": (26.0, 5.0, 6.0), "partition": (45.0, 25.0, 20.0), "pair": (30.0, 15.0, 75.0),
}  # fmt: skip
# Networks and blocks are made ready so many at a time, where there are cores for it; nothing is timed meanwhile.
_MOST_LANES: Final = 4
_CORES_A_LANE: Final = 4


class Kind(StrEnum):
    """What a unit measures."""

    NETWORK = "network"
    """A network on the whole GPU, from end to end and kernel by kernel."""
    KERNELS = "kernels"
    """A block of random kernels likewise."""
    PARTITION = "partition"
    """All `PARTITIONED` networks on a part of the GPU's multiprocessors."""
    PAIR = "pair"
    """Each of the `PAIRED` networks beside each other one, each in a process of its own."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of work."""

    kind: Kind
    runtime: str
    subject: str
    """Network, or seed of a block; `networks` for partitions and pairs."""
    sharing: str = "full"
    """`full`, `mps-25`, `green-25` (percent of the multiprocessors), `mig-1g.10gb`, or `time-2`."""

    @property
    def key(self) -> str:
        """Unique, and stable over versions of the plan."""
        return f"{self.runtime}/{self.kind}/{self.subject}/{self.sharing}"

    @property
    def is_prepared_beside_others(self) -> bool:
        """True for networks and blocks on the whole GPU."""
        return self.kind in (Kind.NETWORK, Kind.KERNELS)

    def expected_s(self, lanes: int = 1) -> float:
        """Before the campaign knows better, where so many are made ready at a time."""
        compiled, eager, measured = _EXPECTED_S[self.kind]
        ready = compiled if self.runtime == INDUCTOR else eager
        return (ready / lanes if self.is_prepared_beside_others else ready) + measured


def lanes_of(cores: int) -> int:
    """How many networks are made ready at a time on a machine of so many cores."""
    return max(1, min(_MOST_LANES, cores // _CORES_A_LANE))


def within(planned: Sequence[Unit], minutes: float, lanes: int) -> int:
    """How many units of a plan, in its order, are expected to end within so many minutes."""
    left = minutes * 60
    for count, unit in enumerate(planned):
        left -= unit.expected_s(lanes)
        if left < 0:
            return count
    return len(planned)


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
    found: list[Unit] = []
    # How much of each is in turn: some of everything, then breadth of families (as many as an interval needs), then depth.
    for some_networks, some_blocks, some_partitions, some_pairs in _TURNS:
        for queue, count in ((networks, some_networks), (blocks, some_blocks), (partitions, some_partitions), (pairs, some_pairs)):
            found += queue[:count]
            del queue[:count]
    return (*found, *networks, *blocks, *partitions, *pairs)


def chosen() -> tuple[zoo.Entry, ...]:
    """The zoo's networks that are measured: those of partitions first, then one of each family in a drawn but fixed order."""
    known = {entry.name: entry for entry in zoo.entries() if entry.split == "zoo" and entry.name not in NOT_EXPORTED}
    first = [known[name] for name in PARTITIONED]
    families: dict[str, zoo.Entry] = {}
    for entry in known.values():
        families.setdefault(entry.family, entry)
    drawn = sorted(
        (entry for family, entry in families.items() if family not in {entry.family for entry in first}), key=lambda entry: zlib.crc32(entry.family.encode())
    )
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
    for part, sharing in (("mps", "mps-50"), ("time", "time-2")):
        if part not in skips:
            yield Unit(Kind.PAIR, runtime, "networks", sharing)

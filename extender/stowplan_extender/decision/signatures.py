"""Signatures: what of a node's state a verdict depends on. Nodes of one signature share every verdict, whatever their names."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from stowplan_fleet.nodes import ResourceName
from stowplan_fleet.services import Service
from stowplan_fleet.slices import DeviceName, SliceClass

from stowplan_extender.decision.occupancies import Lodger, NodeState, Tenancy

# A pod of which nothing is known and that requests less CPU than this is no tenant: it is the size of a DaemonSet's agent, of which
# every node has several (kube-proxy, log and metric collectors request 10m to 100m), so that no node would ever count as empty. Its
# request is still subtracted from what the node has left.
MINOR_CPU_MILLICORES: Final = 100


@dataclass(frozen=True, slots=True)
class Occupier:
    """Somebody on the node whose work others can feel."""

    tenancy: Tenancy | None
    cpu_millicores: int
    devices: tuple[tuple[ResourceName, int], ...] = ()
    _hash: int = field(init=False, compare=False, repr=False)
    _order: tuple[str, str, int, tuple[tuple[ResourceName, int], ...], str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.tenancy, self.cpu_millicores, self.devices)))
        object.__setattr__(self, "_order", _order(self))

    def __hash__(self) -> int:
        return self._hash

    @property
    def order(self) -> tuple[str, str, int, tuple[tuple[ResourceName, int], ...], str]:
        """Sorts occupiers of one node."""
        return self._order


@dataclass(frozen=True, slots=True)
class Room:
    """Slices of one class: how many there are, and how many nobody has."""

    slice_class: SliceClass
    resource: ResourceName
    count: int
    left: int
    """Below zero where more were promised than the node has now (a device plugin lost some)."""
    replicas: int = 1
    """How many of them share one GPU."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Everything about a node that a verdict depends on."""

    cpu_device: DeviceName | None
    cpu_millicores: int
    """Allocatable."""
    cpu_left_millicores: int
    """Allocatable less what every pod there requests, bound or promised; may be below zero."""
    memory_short: bool
    """Whether less memory is left than the newcomer asks for: not how much, for of machines of one kind no two have the same to the byte."""
    rooms: tuple[Room, ...]
    occupiers: tuple[Occupier, ...]
    """In canonical order."""
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        parts = (self.cpu_device, self.cpu_millicores, self.cpu_left_millicores, self.memory_short, self.rooms, self.occupiers)
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        return self._hash

    def room(self, slice_class: SliceClass) -> Room | None:
        """The room for slices of a class other than CPU slices; None where the node has none of that class."""
        return next((room for room in self.rooms if room.slice_class == slice_class), None)


def memory_left_bytes(state: NodeState) -> int:
    """What is left of a node's memory; below zero where more was promised than the node has now."""
    return state.inventory.memory_bytes - sum(lodger.requests.memory_bytes for lodger in {lodger.uid: lodger for lodger in state.lodgers}.values())


def signature_of(state: NodeState, memory_bytes: int = 0) -> Signature:
    """What of a node's state matters to a newcomer that asks for so much memory. A lodger that stands there twice (promised and bound) counts once."""
    lodgers = {lodger.uid: lodger for lodger in state.lodgers}.values()
    inventory = state.inventory
    taken: Counter[ResourceName] = Counter()
    for lodger in lodgers:
        for resource, count in lodger.requests.devices:
            taken[resource] += count
    rooms = [Room(offer.slice_class, offer.resource, offer.count, offer.count - taken[offer.resource], offer.replicas) for offer in inventory.offers]
    return Signature(
        cpu_device=inventory.cpu_device,
        cpu_millicores=inventory.cpu_millicores,
        cpu_left_millicores=inventory.cpu_millicores - sum(lodger.requests.cpu_millicores for lodger in lodgers),
        memory_short=memory_left_bytes(state) < memory_bytes,
        rooms=tuple(sorted(rooms, key=lambda room: (room.slice_class, room.resource))),
        occupiers=tuple(sorted((occupier_of(lodger) for lodger in lodgers if _is_felt(lodger)), key=_place)),
    )


def occupier_of(lodger: Lodger) -> Occupier:
    """The lodger without its name: replicas of one service are equal."""
    return _occupier(lodger.tenancy, lodger.requests.cpu_millicores, lodger.requests.devices)


# Equal occupiers are one object: signatures of nodes that differ by one pod then compare by identity.
@lru_cache(4096)
def _occupier(tenancy: Tenancy | None, cpu_millicores: int, devices: tuple[tuple[ResourceName, int], ...]) -> Occupier:
    return Occupier(tenancy, cpu_millicores, devices)


def _is_felt(lodger: Lodger) -> bool:
    return lodger.tenancy is not None or bool(lodger.requests.devices) or lodger.requests.cpu_millicores >= MINOR_CPU_MILLICORES


def _place(occupier: Occupier) -> tuple[str, str, int, tuple[tuple[ResourceName, int], ...], str]:
    return occupier.order


def _order(occupier: Occupier) -> tuple[str, str, int, tuple[tuple[ResourceName, int], ...], str]:
    tenancy = occupier.tenancy
    if tenancy is None:
        return ("", "", occupier.cpu_millicores, occupier.devices, "")
    # The digest last: one name stands for one service within a view, and repr is needed only where a caller mixes two versions of it.
    return (tenancy.service.name, str(tenancy.slice_class), occupier.cpu_millicores, occupier.devices, _text(tenancy.service))


# Services that stand on nodes; making the text of one takes ten times as long as finding it.
@lru_cache(4096)
def _text(service: Service) -> str:
    return repr(service)

"""What is on a node, or about to be: pods, by what they take and by whom they serve."""

from dataclasses import dataclass, field, replace
from typing import NewType

from stowplan_fleet.nodes import NodeInventory, ResourceName
from stowplan_fleet.services import Service
from stowplan_fleet.slices import SliceClass

PodUid = NewType("PodUid", str)


@dataclass(frozen=True, slots=True)
class Requests:
    """What the scheduler sets aside for a pod, all its containers together."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    devices: tuple[tuple[ResourceName, int], ...] = ()
    """Device-plugin resources with their counts, sorted by name."""

    def count(self, resource: ResourceName) -> int:
        """How many of a device-plugin resource it takes."""
        return sum(count for name, count in self.devices if name == resource)


@dataclass(frozen=True, slots=True)
class Tenancy:
    """One server process of a service on a slice of a class."""

    service: Service
    slice_class: SliceClass
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Part of every key of a decision; a service with all its fields is hashed once for each tenancy, not once for each look-up.
        object.__setattr__(self, "_hash", hash((self.service, self.slice_class)))

    def __hash__(self) -> int:
        return self._hash


def sharers(service: Service, bound: int) -> int:
    """Over how many servers a service's load is spread while so many of its pods have a node: replicas that wait for one carry nothing.

    Pods beyond those planned are on their way out, and take nothing off the others for long.
    """
    return max(1, min(service.replicas, bound))


def as_shared(service: Service, bound: int) -> Service:
    """A service as those of its pods feel it that have a node: the one rule by which residents are judged, in a cluster and at a desk."""
    count = sharers(service, bound)
    return service if count == service.replicas else replace(service, replicas=count)


@dataclass(frozen=True, slots=True)
class Lodger:
    """A pod that is bound to a node, or to which a place there was promised."""

    uid: PodUid
    requests: Requests
    tenancy: Tenancy | None = None
    """None for pods that are not ours: other schedulers' pods are tenants too, unknown ones."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A pod of ours that looks for a place."""

    uid: PodUid
    requests: Requests
    tenancy: Tenancy

    @property
    def lodger(self) -> Lodger:
        """The same pod once it has a place."""
        return Lodger(self.uid, self.requests, self.tenancy)


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node with everyone on it."""

    inventory: NodeInventory
    lodgers: tuple[Lodger, ...] = ()

    def with_lodger(self, lodger: Lodger) -> "NodeState":
        """The node with one more pod; a pod that is there already counts once."""
        return NodeState(self.inventory, (*self.without(lodger.uid).lodgers, lodger))

    def without(self, uid: PodUid) -> "NodeState":
        """The node without that pod."""
        return NodeState(self.inventory, tuple(lodger for lodger in self.lodgers if lodger.uid != uid))

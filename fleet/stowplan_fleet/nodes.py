"""Node inventory: which slices a node offers, read from what real nodes say of themselves.

Which GPU inside a node a pod gets is the kubelet's choice, not ours; so an offer says how many slices of a class a node has, not where.
What cannot be read is a problem with a reason, never a guess.
"""

from dataclasses import dataclass
from typing import NewType

from stowplan_fleet.devices import GpuDevice
from stowplan_fleet.slices import DeviceName, SliceClass

NodeName = NewType("NodeName", str)
# Name of a resource in a pod's requests and a node's allocatable: `cpu`, `nvidia.com/mig-1g.10gb`.
ResourceName = NewType("ResourceName", str)


@dataclass(frozen=True, slots=True)
class SliceOffer:
    """Slices of one class that a node's device plugin advertises."""

    slice_class: SliceClass
    resource: ResourceName
    """What a pod requests to get one."""
    count: int
    """How many the node has in all, taken or not."""


@dataclass(frozen=True, slots=True)
class NodeInventory:
    """What a node has to offer."""

    name: NodeName
    cpu_millicores: int
    """Allocatable."""
    memory_bytes: int
    """Allocatable."""
    cpu_device: DeviceName | None
    """Name of its CPU's descriptor; None where the node carries no label (its CPU slices are unknown, with that reason)."""
    offers: tuple[SliceOffer, ...] = ()
    """GPU slices. CPU slices are not enumerated: any size up to what is allocatable exists."""
    gpus: tuple[GpuDevice, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be read, and why."""

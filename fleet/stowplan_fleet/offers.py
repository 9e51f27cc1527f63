"""Offers: how many slices of a class a node advertises, and under which resource name."""

from dataclasses import dataclass
from typing import NewType

from stowplan_fleet.slices import SliceClass

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
    replicas: int = 1
    """How many of them each GPU is shared among; 1 where nobody shares it."""
    multiprocessors: int | None = None
    """Of one slice; None where the node does not say."""
    memory_bytes: int | None = None
    """Of one slice; None where the node does not say."""

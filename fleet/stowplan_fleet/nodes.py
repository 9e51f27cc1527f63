"""Node inventory: which slices a node offers, read from what real nodes say of themselves.

Which GPU inside a node a pod gets is the kubelet's choice, not ours; so an offer says how many slices of a class a node has, not where.
What cannot be read is a problem with a reason, never a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

from stowplan_fleet import gpu_labels, keys, quantities
from stowplan_fleet.devices import GpuDevice
from stowplan_fleet.errors import QuantityRefused
from stowplan_fleet.offers import ResourceName, SliceOffer
from stowplan_fleet.slices import DeviceName, is_device_name

__all__ = ["NodeInventory", "NodeName", "ResourceName", "SliceOffer", "read_inventory"]

NodeName = NewType("NodeName", str)


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


def read_inventory(name: str, labels: Mapping[str, str], allocatable: Mapping[str, str]) -> NodeInventory:
    """Reads a node's inventory from its labels and its allocatable resources.

    Args:
        name: the node's name.
        labels: its labels, GPU-feature-discovery's among them.
        allocatable: quantities by resource, as the kubelet reports them.
    """
    problems: list[str] = []
    amounts: dict[str, int] = {}
    for resource, text in allocatable.items():
        try:
            amounts[resource] = quantities.millicores(text) if resource == "cpu" else quantities.whole(text)
        except QuantityRefused as error:
            problems.append(f"allocatable {resource}: {error}")
    device = labels.get(keys.DEVICE_LABEL)
    if device is not None and not is_device_name(device):
        problems.append(f"label {keys.DEVICE_LABEL}: {device[:64]!r} is not the name of a device")
        device = None
    found = gpu_labels.read_gpus(labels, amounts)
    return NodeInventory(
        name=NodeName(name),
        cpu_millicores=max(0, amounts.get("cpu", 0)),
        memory_bytes=max(0, amounts.get("memory", 0)),
        cpu_device=DeviceName(device) if device is not None else None,
        offers=found.offers,
        gpus=found.gpus,
        problems=(*problems, *found.problems),
    )

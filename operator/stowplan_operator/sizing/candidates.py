"""Candidates: the slice classes that the nodes of a cluster have, each with what a pod asks for and what it costs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_fleet import slices
from stowplan_fleet.nodes import NodeInventory, ResourceName
from stowplan_fleet.services import PlacementPolicy
from stowplan_fleet.slices import DeviceName, SliceClass, SliceKind

from stowplan_operator.sizing.prices import Cost, Prices

CPU_RESOURCE: Final = ResourceName("cpu")
# Whole cores only, up to this many: below one core the kernel's quota throttles in bursts of 100 ms and latencies fall apart into several
# modes; beyond eight the networks that are served on CPUs gain little (a guess, to be replaced by measurement). Whoever wants others pins them.
CORES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A slice class that exists, or that its author pinned and some node could hold."""

    slice_class: SliceClass
    resource: ResourceName
    """What a pod requests to get one."""
    cost: Cost
    """Of one slice."""


def candidates(nodes: Iterable[NodeInventory], policy: PlacementPolicy, runtime: str, prices: Prices | None = None) -> tuple[Candidate, ...]:
    """All slice classes on which a service with that policy and runtime could run, in the order of their names.

    Args:
        nodes: those that may take its pods.
        policy: pinned classes narrow the choice; a pinned CPU size is a candidate wherever a node has that many cores.
        runtime: `...-cpu` runs on CPU slices, every other one on GPU slices.
        prices: what slices cost; None where nobody tells.
    """
    resources: dict[SliceClass, ResourceName] = {}
    on_cpu = runtime.endswith("-cpu")
    largest = _largest_cpus(nodes := tuple(nodes))
    if on_cpu:
        for device, millicores in largest.items():
            for cores in range(1, min(millicores // 1000, CORES_MAX) + 1):
                resources[SliceClass(device, slices.cpu_slice(cores * 1000))] = CPU_RESOURCE
    else:
        resources.update(_offered(nodes))
    if policy.slice_classes:
        if on_cpu:
            for pinned in policy.slice_classes:
                if 0 < pinned.slice.cpu_millicores <= largest.get(pinned.device, 0):
                    resources[SliceClass(pinned.device, slices.cpu_slice(pinned.slice.cpu_millicores))] = CPU_RESOURCE
        resources = {name: resource for name, resource in resources.items() if name in policy.slice_classes}
    known = prices or Prices()
    return tuple(Candidate(name, resources[name], known.cost_of(name)) for name in sorted(resources))


def _largest_cpus(nodes: Sequence[NodeInventory]) -> dict[DeviceName, int]:
    largest: dict[DeviceName, int] = {}
    for node in nodes:
        if node.cpu_device is not None:
            largest[node.cpu_device] = max(largest.get(node.cpu_device, 0), node.cpu_millicores)
    return largest


def _offered(nodes: Sequence[NodeInventory]) -> dict[SliceClass, ResourceName]:
    return {
        offer.slice_class: offer.resource for node in nodes for offer in node.offers if offer.count > 0 and offer.slice_class.slice.kind is not SliceKind.CPU
    }

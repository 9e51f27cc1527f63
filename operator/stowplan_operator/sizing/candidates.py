"""Candidates: the slice classes that the nodes of a cluster have, each with what a pod asks for and what it costs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from stowplan_fleet import slices
from stowplan_fleet.nodes import NodeInventory, ResourceName
from stowplan_fleet.services import PlacementPolicy
from stowplan_fleet.slices import DeviceName, Slice, SliceClass, SliceKind

CPU_RESOURCE: Final = ResourceName("cpu")
# Whole cores only, up to this many: below one core the kernel's quota throttles in bursts of 100 ms and latencies fall apart into several
# modes; beyond eight the networks that are served on CPUs gain little (a guess, to be replaced by measurement). Whoever wants others pins them.
CORES_MAX: Final = 8
# A MIG profile `3g...` has three of seven compute slices (NVIDIA MIG user guide, "Supported MIG Profiles").
_MIG_COMPUTE_SLICES: Final = 7


@dataclass(frozen=True, slots=True)
class Candidate:
    """A slice class that exists, or that its author pinned and some node could hold."""

    slice_class: SliceClass
    resource: ResourceName
    """What a pod requests to get one."""
    cost: Fraction
    """Of one slice: cores for CPUs, shares of a device for GPUs. The two are never compared, because a runtime runs on one of them."""


def candidates(nodes: Iterable[NodeInventory], policy: PlacementPolicy, runtime: str) -> tuple[Candidate, ...]:
    """All slice classes on which a service with that policy and runtime could run, in the order of their names.

    Args:
        nodes: those that may take its pods.
        policy: pinned classes narrow the choice; a pinned CPU size is a candidate wherever a node has that many cores.
        runtime: `...-cpu` runs on CPU slices, every other one on GPU slices.
    """
    found: dict[SliceClass, Candidate] = {}
    on_cpu = runtime.endswith("-cpu")
    largest = _largest_cpus(nodes := tuple(nodes))
    if on_cpu:
        for device, millicores in largest.items():
            for cores in range(1, min(millicores // 1000, CORES_MAX) + 1):
                _add_cpu(found, device, cores * 1000)
    else:
        _add_offers(found, nodes)
    if policy.slice_classes:
        if on_cpu:
            for pinned in policy.slice_classes:
                if 0 < pinned.slice.cpu_millicores <= largest.get(pinned.device, 0):
                    _add_cpu(found, pinned.device, pinned.slice.cpu_millicores)
        found = {name: candidate for name, candidate in found.items() if name in policy.slice_classes}
    return tuple(found[name] for name in sorted(found))


def cost_of(piece: Slice) -> Fraction:
    """What one slice takes: cores of a CPU, or the share of a GPU."""
    match piece.kind:
        case SliceKind.CPU:
            return Fraction(piece.cpu_millicores, 1000)
        case SliceKind.MIG:
            return Fraction(int(piece.profile.partition("g")[0]), _MIG_COMPUTE_SLICES)
        case SliceKind.MPS:
            return Fraction(int(piece.profile), 100)
        case SliceKind.TIME:
            return Fraction(1, int(piece.profile))
        case SliceKind.FULL:
            return Fraction(1)


def _largest_cpus(nodes: Sequence[NodeInventory]) -> dict[DeviceName, int]:
    largest: dict[DeviceName, int] = {}
    for node in nodes:
        if node.cpu_device is not None:
            largest[node.cpu_device] = max(largest.get(node.cpu_device, 0), node.cpu_millicores)
    return largest


def _add_cpu(found: dict[SliceClass, Candidate], device: DeviceName, millicores: int) -> None:
    piece = slices.cpu_slice(millicores)
    found[SliceClass(device, piece)] = Candidate(SliceClass(device, piece), CPU_RESOURCE, cost_of(piece))


def _add_offers(found: dict[SliceClass, Candidate], nodes: Sequence[NodeInventory]) -> None:
    for node in nodes:
        for offer in node.offers:
            if offer.count > 0 and offer.slice_class.slice.kind is not SliceKind.CPU:
                found[offer.slice_class] = Candidate(offer.slice_class, offer.resource, cost_of(offer.slice_class.slice))

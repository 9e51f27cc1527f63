"""Who feels whom: which occupiers of a node are tenants of the same device as a given one.

- CPU slices share the node's caches and memory bandwidth with every process there.
- Slices of a shared GPU (MPS, time slicing) share it with the other slices of that resource. Which GPU of the node the kubelet picks is not
  ours to know, so all of them may be met, but never more at once than a GPU has replicas: the worst choice counts (`most_at_once`).
- Whole GPUs and MIG instances have SMs, cache and memory of their own (NVIDIA MIG User Guide, "Concepts"): no tenants.
"""

from functools import lru_cache

from stowplan_fleet.nodes import ResourceName
from stowplan_fleet.questions import Occupant, Tenant, UnknownOccupant, canonical_tenants, occupant
from stowplan_fleet.slices import SliceKind

from stowplan_extender.decision.occupancies import Tenancy
from stowplan_extender.decision.signatures import MINOR_CPU_MILLICORES, Occupier, Signature


def tenant_for(subject: Tenancy, other: Occupier, signature: Signature) -> Tenant | None:
    """What the subject feels of somebody else on its node; None where they do not meet."""
    match subject.slice_class.slice.kind:
        case SliceKind.CPU:
            return _on_cpu(other)
        case SliceKind.MPS | SliceKind.TIME:
            room = signature.room(subject.slice_class)
            return _on_shared_gpu(subject, other, room.resource) if room else None
        case SliceKind.FULL | SliceKind.MIG:
            return None


def tenants_for(subject: Tenancy, others: tuple[Occupier, ...], signature: Signature) -> tuple[Tenant, ...]:
    """All that the subject feels, in the order questions want."""
    felt = [tenant for other in others if (tenant := tenant_for(subject, other, signature)) is not None]
    return canonical_tenants(felt)


def most_at_once(subject: Tenancy, signature: Signature) -> int | None:
    """How many others can be on the subject's device at the same time; None where every one of them is on it."""
    room = signature.room(subject.slice_class)
    return room.replicas - 1 if room is not None and room.replicas > 1 else None


# Of few services, asked for each pair of a node's tenants.
@lru_cache(4096)
def analysed_occupant(tenancy: Tenancy) -> Occupant | None:
    """The tenancy as the predictor knows it; None while the service's model was not analysed."""
    return occupant(tenancy.service, tenancy.slice_class) if tenancy.service.graph_digest is not None else None


def _on_cpu(other: Occupier) -> Tenant | None:
    if other.tenancy is not None and other.tenancy.slice_class.slice.kind is SliceKind.CPU:
        known = analysed_occupant(other.tenancy)
        if known is not None:
            return known
    # A GPU server's host side, an unanalysed model, somebody else's pod: of those only the request is known.
    return UnknownOccupant(other.cpu_millicores) if other.cpu_millicores >= MINOR_CPU_MILLICORES else None


def _on_shared_gpu(subject: Tenancy, other: Occupier, resource: ResourceName) -> Tenant | None:
    if other.tenancy is not None and other.tenancy.slice_class == subject.slice_class:
        return analysed_occupant(other.tenancy) or UnknownOccupant(other.cpu_millicores)
    if any(name == resource for name, _ in other.devices):
        return UnknownOccupant(other.cpu_millicores)
    return None

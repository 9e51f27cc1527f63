"""What can be refused without asking the predictor: the wrong slice, no room, somebody who does not share."""

from stowplan_fleet.nodes import ResourceName
from stowplan_fleet.services import Sharing
from stowplan_fleet.slices import SliceKind

from stowplan_extender.decision import neighbourhoods, reasons
from stowplan_extender.decision.occupancies import Newcomer
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.decision.signatures import Signature, occupier_of


def screen(newcomer: Newcomer, signature: Signature) -> Refusal | None:
    """The first thing that rules the node out; None where only predictions can tell. What no eviction could help comes first."""
    return _wrong_slice(newcomer, signature) or _no_room(newcomer, signature) or _no_sharing(newcomer, signature)


def _wrong_slice(newcomer: Newcomer, signature: Signature) -> Refusal | None:
    slice_class, wanted = newcomer.tenancy.slice_class, newcomer.tenancy.service.placement.slice_classes
    if wanted and slice_class not in wanted:
        return reasons.slice_not_wanted(slice_class)
    return _wrong_cpu(newcomer, signature) if slice_class.slice.kind is SliceKind.CPU else _wrong_gpu(newcomer, signature)


def _wrong_cpu(newcomer: Newcomer, signature: Signature) -> Refusal | None:
    slice_class = newcomer.tenancy.slice_class
    if signature.cpu_device is None:
        return reasons.device_not_named()
    if signature.cpu_device != slice_class.device or slice_class.slice.cpu_millicores > signature.cpu_millicores:
        return reasons.slice_not_offered(slice_class)
    if newcomer.requests.cpu_millicores < slice_class.slice.cpu_millicores:
        return reasons.slice_not_requested(slice_class, ResourceName("cpu"))
    return None


def _wrong_gpu(newcomer: Newcomer, signature: Signature) -> Refusal | None:
    slice_class = newcomer.tenancy.slice_class
    room = signature.room(slice_class)
    if room is None:
        return reasons.slice_not_offered(slice_class)
    if newcomer.requests.count(room.resource) < 1:
        return reasons.slice_not_requested(slice_class, room.resource)
    return None


def _no_room(newcomer: Newcomer, signature: Signature) -> Refusal | None:
    requests = newcomer.requests
    room = signature.room(newcomer.tenancy.slice_class)
    asked = requests.count(room.resource) if room is not None else 0
    fits = requests.cpu_millicores <= signature.cpu_left_millicores and not signature.memory_short and (room is None or asked <= room.left)
    if fits:
        return None
    # A node that is too small as a whole is so without anybody on it, too.
    large_enough = requests.cpu_millicores <= signature.cpu_millicores and (room is None or asked <= room.count)
    return reasons.no_room(newcomer.tenancy.slice_class, resolvable=large_enough)


def _no_sharing(newcomer: Newcomer, signature: Signature) -> Refusal | None:
    tenancy = newcomer.tenancy
    if tenancy.service.placement.sharing is Sharing.DENY and neighbourhoods.tenants_for(tenancy, signature.occupiers, signature):
        return reasons.sharing_denied()
    arriving = occupier_of(newcomer.lodger)
    for occupier in signature.occupiers:
        resident = occupier.tenancy
        if resident is None or resident.service.placement.sharing is Sharing.ALLOW:
            continue
        if neighbourhoods.tenant_for(resident, arriving, signature) is not None:
            return reasons.resident_denies_sharing(resident.service)
    return None

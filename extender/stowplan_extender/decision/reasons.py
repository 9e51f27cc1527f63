"""Why a node is refused. Fixed kinds and few texts: the scheduler folds equal texts into one line of the pod's event, and metrics carry the kind.

A text names services, slice classes and objectives, never a number that differs from node to node.
"""

from dataclasses import dataclass
from enum import StrEnum

from stowplan_fleet import reasons as sentences
from stowplan_fleet.answers import Basis, UnknownReason
from stowplan_fleet.nodes import ResourceName
from stowplan_fleet.services import Service
from stowplan_fleet.slices import SliceClass


class Reason(StrEnum):
    """Kinds of refusal; part of the metrics' interface."""

    SLICE_NOT_OFFERED = "SliceNotOffered"
    """The node has another device, or slices of another profile."""
    DEVICE_NOT_NAMED = "DeviceNotNamed"
    """The node carries no label stowplan.dev/device."""
    SLICE_NOT_WANTED = "SliceNotWanted"
    """The service's placement does not name the pod's slice class."""
    SLICE_NOT_REQUESTED = "SliceNotRequested"
    """The pod requests less than its slice class takes."""
    NO_ROOM = "NoRoom"
    """Every slice of the class is taken, or too little CPU or memory is left."""
    SHARING_DENIED = "SharingDenied"
    """The newcomer wants the device for itself, and others are there."""
    RESIDENT_DENIES_SHARING = "ResidentDeniesSharing"
    """Somebody there wants the device for itself."""
    TOO_SLOW_ALONE = "TooSlowAlone"
    """Predicted above the objective even with nobody beside it."""
    OVERLOADED_ALONE = "OverloadedAlone"
    """Requests would arrive faster than they are worked off, even with nobody beside it."""
    TOO_SLOW_BESIDE = "TooSlowBeside"
    """Predicted above the objective beside the tenants there."""
    OVERLOADED_BESIDE = "OverloadedBeside"
    """Requests would arrive faster than they are worked off beside the tenants there."""
    RESIDENT_OVER_SLO = "ResidentOverSlo"
    """A resident would break its objective."""
    RESIDENT_OVERLOADED = "ResidentOverloaded"
    """A resident could not sustain its load."""
    RESIDENT_UNKNOWN = "ResidentUnknown"
    """Whether a resident would come to harm cannot be told, and it does not tolerate that."""
    PREDICTION_UNKNOWN = "PredictionUnknown"
    """The newcomer cannot be judged, and it does not tolerate that."""
    BASIS_TOO_WEAK = "BasisTooWeak"
    """The newcomer's prediction rests on a basis weaker than its placement.minimumBasis, and it does not tolerate that."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, and why."""

    reason: Reason
    text: str
    resolvable: bool
    """True where the departure of somebody on that node could change the answer."""


def slice_not_offered(slice_class: SliceClass) -> Refusal:
    """The node has another device, or slices of another profile."""
    return Refusal(Reason.SLICE_NOT_OFFERED, sentences.slice_not_offered(slice_class), resolvable=False)


def device_not_named() -> Refusal:
    """The node carries no name of a CPU descriptor, so that nothing is known of its CPU slices."""
    return Refusal(Reason.DEVICE_NOT_NAMED, sentences.device_not_named(), resolvable=False)


def slice_not_wanted(slice_class: SliceClass) -> Refusal:
    """The pod's slice class is not one the service's owner allows."""
    return Refusal(Reason.SLICE_NOT_WANTED, f"{slice_class} is not among the slice classes that the service's placement names", resolvable=False)


def slice_not_requested(slice_class: SliceClass, resource: ResourceName) -> Refusal:
    """The pod's annotation promises more than its requests hold."""
    return Refusal(Reason.SLICE_NOT_REQUESTED, f"the pod requests less {resource} than a slice {slice_class} takes", resolvable=False)


def no_room(slice_class: SliceClass, *, resolvable: bool) -> Refusal:
    """Everything is taken, or too little is left; not `resolvable` where even all of it would be too little."""
    return Refusal(Reason.NO_ROOM, sentences.no_free_slice(slice_class), resolvable=resolvable)


def sharing_denied() -> Refusal:
    """The newcomer wants the device for itself."""
    return Refusal(Reason.SHARING_DENIED, sentences.sharing_denied(), resolvable=True)


def resident_denies_sharing(resident: Service) -> Refusal:
    """Somebody there wants the device for itself."""
    return Refusal(Reason.RESIDENT_DENIES_SHARING, sentences.resident_denies_sharing(resident.name), resolvable=True)


def too_slow_alone(service: Service, slice_class: SliceClass, upper_ms: float) -> Refusal:
    """No eviction could help. The prediction may stand in the text: alone, it is the same on every node of the class."""
    text = sentences.too_slow_alone(slice_class, service.slo.percentile, upper_ms, service.slo.latency_ms)
    return Refusal(Reason.TOO_SLOW_ALONE, text, resolvable=False)


def overloaded_alone(slice_class: SliceClass) -> Refusal:
    """No eviction could help."""
    return Refusal(Reason.OVERLOADED_ALONE, f"{sentences.load_not_sustained(slice_class)}, even alone", resolvable=False)


def too_slow_beside(service: Service, slice_class: SliceClass) -> Refusal:
    """Alone it would hold."""
    text = sentences.too_slow_beside_tenants(slice_class, service.slo.percentile, service.slo.latency_ms)
    return Refusal(Reason.TOO_SLOW_BESIDE, text, resolvable=True)


def overloaded_beside(slice_class: SliceClass) -> Refusal:
    """Alone it would hold."""
    text = sentences.load_not_sustained_beside_tenants(slice_class)
    return Refusal(Reason.OVERLOADED_BESIDE, text, resolvable=True)


def resident_over_slo(resident: Service) -> Refusal:
    """The newcomer would harm somebody, or somebody is in trouble already."""
    text = f"would push resident {resident.name} over its SLO of {resident.slo.latency_ms:g} ms"
    return Refusal(Reason.RESIDENT_OVER_SLO, text, resolvable=True)


def resident_overloaded(resident: Service) -> Refusal:
    """The same, without end: requests would arrive faster than they are worked off."""
    text = f"would push resident {resident.name} over its SLO of {resident.slo.latency_ms:g} ms: it could not sustain its load"
    return Refusal(Reason.RESIDENT_OVERLOADED, text, resolvable=True)


def resident_unknown(resident: Service, reason: UnknownReason | Basis) -> Refusal:
    """Nobody can tell whether somebody would come to harm, or only on a basis that is too weak for it, and that service does not tolerate this."""
    if resident.graph_digest is None:
        why = "cannot be judged (its model is not analysed)"
    else:
        why = sentences.basis_too_weak(reason, resident.placement.minimum_basis) if isinstance(reason, Basis) else sentences.not_judged(reason, "")
    return Refusal(Reason.RESIDENT_UNKNOWN, f"resident {resident.name} beside it {why}", resolvable=True)


def prediction_unknown(reason: UnknownReason, message: str) -> Refusal:
    """Nobody can tell, and the service does not tolerate this."""
    if reason is UnknownReason.TENANTS_NOT_SUPPORTED:
        # Tenants can leave; and what the predictor says of them differs from node to node.
        return Refusal(Reason.PREDICTION_UNKNOWN, sentences.not_judged(reason, ""), resolvable=True)
    return Refusal(Reason.PREDICTION_UNKNOWN, sentences.not_judged(reason, message), resolvable=False)


def basis_too_weak(service: Service, basis: Basis, *, because_of_tenants: bool) -> Refusal:
    """There is a prediction, and the service does not take it for one; of a node without those tenants it might."""
    return Refusal(Reason.BASIS_TOO_WEAK, sentences.basis_too_weak(basis, service.placement.minimum_basis), resolvable=because_of_tenants)

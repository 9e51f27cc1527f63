"""Why a node is refused. Fixed kinds and few texts: the scheduler folds equal texts into one line of the pod's event, and metrics carry the kind.

A text names services, slice classes and objectives, never a number that differs from node to node.
"""

from dataclasses import dataclass
from enum import StrEnum

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.keys import DEVICE_LABEL
from stowplan_fleet.nodes import ResourceName
from stowplan_fleet.services import Service
from stowplan_fleet.slices import SliceClass


class Reason(StrEnum):
    """Kinds of refusal; part of the metrics' interface."""

    SLICE_NOT_OFFERED = "SliceNotOffered"
    DEVICE_NOT_NAMED = "DeviceNotNamed"
    SLICE_NOT_WANTED = "SliceNotWanted"
    SLICE_NOT_REQUESTED = "SliceNotRequested"
    NO_ROOM = "NoRoom"
    SHARING_DENIED = "SharingDenied"
    RESIDENT_DENIES_SHARING = "ResidentDeniesSharing"
    TOO_SLOW_ALONE = "TooSlowAlone"
    OVERLOADED_ALONE = "OverloadedAlone"
    TOO_SLOW_BESIDE = "TooSlowBeside"
    OVERLOADED_BESIDE = "OverloadedBeside"
    RESIDENT_OVER_SLO = "ResidentOverSlo"
    RESIDENT_OVERLOADED = "ResidentOverloaded"
    RESIDENT_UNKNOWN = "ResidentUnknown"
    PREDICTION_UNKNOWN = "PredictionUnknown"


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, and why."""

    reason: Reason
    text: str
    resolvable: bool
    """True where the departure of somebody on that node could change the answer."""


def slice_not_offered(slice_class: SliceClass) -> Refusal:
    """The node has another device, or slices of another profile."""
    return Refusal(Reason.SLICE_NOT_OFFERED, f"has no slices of class {slice_class}", resolvable=False)


def device_not_named() -> Refusal:
    """The node carries no name of a CPU descriptor, so that nothing is known of its CPU slices."""
    return Refusal(Reason.DEVICE_NOT_NAMED, f"does not name its CPU: label {DEVICE_LABEL} is missing", resolvable=False)


def slice_not_wanted(slice_class: SliceClass) -> Refusal:
    """The pod's slice class is not one the service's owner allows."""
    return Refusal(Reason.SLICE_NOT_WANTED, f"slice class {slice_class} is not among those the service's placement names", resolvable=False)


def slice_not_requested(slice_class: SliceClass, resource: ResourceName) -> Refusal:
    """The pod's annotation promises more than its requests hold."""
    text = f"the pod requests less {resource} than a slice of class {slice_class} takes"
    return Refusal(Reason.SLICE_NOT_REQUESTED, text, resolvable=False)


def no_room(slice_class: SliceClass) -> Refusal:
    """Everything is taken."""
    return Refusal(Reason.NO_ROOM, f"has no room for another slice of class {slice_class}", resolvable=True)


def sharing_denied() -> Refusal:
    """The newcomer wants the device for itself."""
    return Refusal(Reason.SHARING_DENIED, "the service does not share its device, and others are on it", resolvable=True)


def resident_denies_sharing(resident: Service) -> Refusal:
    """Somebody there wants the device for itself."""
    return Refusal(Reason.RESIDENT_DENIES_SHARING, f"resident {resident.name} does not share its device", resolvable=True)


def too_slow_alone(service: Service, slice_class: SliceClass) -> Refusal:
    """No eviction could help."""
    text = f"a slice of class {slice_class} misses the SLO of {milliseconds(service)} even alone"
    return Refusal(Reason.TOO_SLOW_ALONE, text, resolvable=False)


def overloaded_alone(slice_class: SliceClass) -> Refusal:
    """No eviction could help."""
    return Refusal(Reason.OVERLOADED_ALONE, f"a slice of class {slice_class} cannot sustain the load even alone", resolvable=False)


def too_slow_beside(service: Service) -> Refusal:
    """Alone it would hold."""
    return Refusal(Reason.TOO_SLOW_BESIDE, f"would miss its SLO of {milliseconds(service)} beside those already there", resolvable=True)


def overloaded_beside() -> Refusal:
    """Alone it would hold."""
    return Refusal(Reason.OVERLOADED_BESIDE, "could not sustain its load beside those already there", resolvable=True)


def resident_over_slo(resident: Service) -> Refusal:
    """The newcomer would harm somebody."""
    text = f"would push resident {resident.name} over its SLO of {milliseconds(resident)}"
    return Refusal(Reason.RESIDENT_OVER_SLO, text, resolvable=True)


def resident_overloaded(resident: Service) -> Refusal:
    """The newcomer would harm somebody, without end."""
    text = f"would push resident {resident.name} over its SLO of {milliseconds(resident)}: it could no longer sustain its load"
    return Refusal(Reason.RESIDENT_OVERLOADED, text, resolvable=True)


def resident_unknown(resident: Service, reason: UnknownReason | None) -> Refusal:
    """Nobody can tell whether somebody would come to harm, and that service does not tolerate this."""
    why = reason.value if reason else "its model is not analysed"
    return Refusal(Reason.RESIDENT_UNKNOWN, f"cannot judge resident {resident.name} beside it: {why}", resolvable=True)


def prediction_unknown(reason: UnknownReason) -> Refusal:
    """Nobody can tell, and the service does not tolerate this."""
    # Only tenants can leave; a device, a slice or a kernel nobody measured stays what it is.
    resolvable = reason is UnknownReason.TENANTS_NOT_SUPPORTED
    return Refusal(Reason.PREDICTION_UNKNOWN, f"its latency there is unknown: {reason.value}", resolvable=resolvable)


def milliseconds(service: Service) -> str:
    """An objective as people write it: `50 ms`, `2.5 ms`."""
    return f"{service.slo.latency_ms:g} ms"

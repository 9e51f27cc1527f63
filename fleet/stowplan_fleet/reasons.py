"""Reasons in words, shared by the extender, the operator and the command line, so that the same thing always reads the same.

Two kinds: CamelCase reasons of conditions and events, which are part of the API, and sentences that tell why a node was refused. The scheduler
counts equal sentences ("0/12 nodes are available: 8 offers no slice ..."), so a sentence holds nothing that differs from node to node of a kind.
"""

from enum import StrEnum

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import DeviceName, SliceClass


class ConditionType(StrEnum):
    """Conditions of an InferenceService."""

    READY = "Ready"
    MODEL_ANALYZED = "ModelAnalyzed"
    PLACEABLE = "Placeable"
    SCHEDULED = "Scheduled"
    SLO_MET = "SLOMet"
    PREDICTION_ACCURATE = "PredictionAccurate"


class ConditionReason(StrEnum):
    """Reasons of conditions and events."""

    SPEC_REFUSED = "SpecRefused"
    ANALYZED = "Analyzed"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_REFUSED = "ModelRefused"
    MODEL_UNREACHABLE = "ModelUnreachable"
    SOURCE_NOT_ALLOWED = "SourceNotAllowed"
    DIGEST_MISMATCH = "DigestMismatch"
    PREDICTOR_UNAVAILABLE = "PredictorUnavailable"
    RUNG_CHOSEN = "RungChosen"
    NO_RUNG_MEETS_SLO = "NoRungMeetsSLO"
    NO_SLICE_OFFERED = "NoSliceOffered"
    PREDICTION_UNKNOWN = "PredictionUnknown"
    NOT_ANALYZED = "NotAnalyzed"
    NAME_TAKEN = "NameTaken"
    ALL_REPLICAS_BOUND = "AllReplicasBound"
    WAITING_FOR_PLACEMENT = "WaitingForPlacement"
    NO_SPARE_SLICE = "NoSpareSlice"
    ALL_REPLICAS_READY = "AllReplicasReady"
    REPLICAS_NOT_READY = "ReplicasNotReady"
    WITHIN_OBJECTIVE = "WithinObjective"
    ABOVE_OBJECTIVE = "AboveObjective"
    WITHIN_INTERVAL = "WithinInterval"
    OUTSIDE_INTERVAL = "OutsideInterval"
    NOT_OBSERVED = "NotObserved"
    INTERNAL_ERROR = "InternalError"


def slice_not_offered(slice_class: SliceClass) -> str:
    """The node has no slice of the class, free or taken."""
    return f"offers no slice {slice_class}"


def no_free_slice(slice_class: SliceClass) -> str:
    """All slices of the class are taken."""
    return f"has no free slice {slice_class}"


def device_not_named() -> str:
    """The node carries no device label."""
    return "names no device (label stowplan.dev/device), so nothing is known of its CPU"


def device_not_described(device: DeviceName) -> str:
    """No descriptor of the device was found."""
    return f"its device {device} has no descriptor; run `stowplan device` there"


def too_slow_alone(slice_class: SliceClass, percentile: int, upper_ms: float, slo_ms: float) -> str:
    """No eviction could help."""
    return f"{slice_class} is too slow even alone: p{percentile} up to {_ms(upper_ms)} ms, objective {_ms(slo_ms)} ms"


def too_slow_beside_tenants(slice_class: SliceClass, percentile: int, slo_ms: float) -> str:
    """It would do alone; the tenants there slow it down too much. No prediction in the text: it differs from node to node."""
    return f"{slice_class} is too slow beside the tenants there: p{percentile} above the objective of {_ms(slo_ms)} ms"


def load_not_sustained(slice_class: SliceClass) -> str:
    """Requests arrive faster than the slice works them off."""
    return f"{slice_class} cannot sustain the request rate"


def resident_over_objective(resident: ServiceName) -> str:
    """A resident would break its objective."""
    return f"would push resident {resident} over its objective"


def resident_denies_sharing(resident: ServiceName) -> str:
    """A resident wants its device for itself."""
    return f"resident {resident} denies sharing"


def sharing_denied() -> str:
    """The newcomer wants a device for itself and others are there."""
    return "has other tenants, and this service denies sharing"


def not_judged(reason: UnknownReason, message: str) -> str:
    """The predictor cannot judge and the service rejects what is unknown."""
    return f"cannot be judged ({reason.value}): {message}" if message else f"cannot be judged ({reason.value})"


def _ms(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"

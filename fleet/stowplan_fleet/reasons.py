"""Reasons in words, shared by the extender, the operator and the command line, so that the same thing always reads the same.

Two kinds: CamelCase reasons of conditions and events, which are part of the API, and sentences that tell why a node was refused. The scheduler
counts equal sentences ("0/12 nodes are available: 8 offers no slice ..."), so a sentence holds nothing that differs from node to node of a kind.
"""

from enum import StrEnum

from stowplan_fleet.answers import Basis, UnknownReason
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import SliceClass, SliceKind


class ConditionType(StrEnum):
    """Conditions of an InferenceService."""

    READY = "Ready"
    """All replicas serve, the model could be judged, and a slice class is predicted to do; the one condition to wait for."""
    MODEL_ANALYZED = "ModelAnalyzed"
    """The model was read and the predictor knows its graph."""
    PLACEABLE = "Placeable"
    """Some slice class of this cluster is predicted to hold the objective at the declared load."""
    SCHEDULED = "Scheduled"
    """Every replica has a node."""
    SLO_MET = "SLOMet"
    """The observed latency is within the objective; unknown while nothing observes it."""
    PREDICTION_ACCURATE = "PredictionAccurate"
    """The observed latency is within the predicted interval; unknown while nothing observes it."""


class ConditionReason(StrEnum):
    """Reasons of conditions and events."""

    SPEC_REFUSED = "SpecRefused"
    """The object, or the Deployment made from its template, is not acceptable; the message names the field."""
    ANALYZED = "Analyzed"
    """The graph is known; the message counts operators and kernels."""
    MODEL_NOT_FOUND = "ModelNotFound"
    """There is no file where spec.model.uri points."""
    MODEL_REFUSED = "ModelRefused"
    """The file is broken, too large, or holds what nobody can judge."""
    MODEL_UNREACHABLE = "ModelUnreachable"
    """The place of a remote model does not answer; it is tried again."""
    SOURCE_NOT_ALLOWED = "SourceNotAllowed"
    """spec.model.uri is of no known form, or names a place that the administrator does not allow."""
    DIGEST_MISMATCH = "DigestMismatch"
    """The file is another one than spec.model.digest pins."""
    PREDICTOR_UNAVAILABLE = "PredictorUnavailable"
    """The predictor does not answer; it is asked again."""
    RUNG_CHOSEN = "RungChosen"
    """A slice class and a number of replicas were chosen; status.ladder shows the alternatives."""
    NO_RUNG_MEETS_SLO = "NoRungMeetsSLO"
    """No slice class of this cluster is predicted to hold the objective; the message names the nearest miss of each device."""
    NO_SLICE_OFFERED = "NoSliceOffered"
    """No node offers a slice for this runtime, or none of the slice classes that spec.placement names."""
    PREDICTION_UNKNOWN = "PredictionUnknown"
    """Nothing can be predicted, or only on a basis weaker than spec.placement.minimumBasis, and onUnknown is Reject; the message says why."""
    NOT_ANALYZED = "NotAnalyzed"
    """Nothing can be said before the model is analysed."""
    DEPLOYMENT_NOT_MADE = "DeploymentNotMade"
    """The API server fails to take the service's Deployment; the message repeats its words, and it is tried again."""
    PODS_REFUSED = "PodsRefused"
    """The API server does not take the service's pods: a quota, a policy, a missing service account; the message repeats its words."""
    NAME_TAKEN = "NameTaken"
    """A Deployment of the service's name belongs to somebody else; it is left alone."""
    FOREIGN_EDITS = "ForeignEdits"
    """Somebody else keeps changing the Deployment; after a few times of putting it right it is left as it is for some minutes."""
    ALL_REPLICAS_BOUND = "AllReplicasBound"
    """Every replica has a node."""
    WAITING_FOR_PLACEMENT = "WaitingForPlacement"
    """A replica has no node yet; the message repeats the scheduler's words."""
    NO_SPARE_SLICE = "NoSpareSlice"
    """Every slice that would do is taken: no rung of the ladder finds room, or a change waits for a slice while the former pods serve on."""
    ALL_REPLICAS_READY = "AllReplicasReady"
    """Every replica is ready."""
    REPLICAS_NOT_READY = "ReplicasNotReady"
    """A replica is not ready."""
    WITHIN_OBJECTIVE = "WithinObjective"
    """Observed latency is within the objective. Not given yet: nothing observes latencies."""
    ABOVE_OBJECTIVE = "AboveObjective"
    """Observed latency is above the objective. Not given yet: nothing observes latencies."""
    WITHIN_INTERVAL = "WithinInterval"
    """Observed latency is within the predicted interval. Not given yet: nothing observes latencies."""
    OUTSIDE_INTERVAL = "OutsideInterval"
    """Observed latency is outside the predicted interval. Not given yet: nothing observes latencies."""
    NOT_OBSERVED = "NotObserved"
    """Nothing observes the latency."""
    INTERNAL_ERROR = "InternalError"
    """The operator failed on this service in a way that nobody foresaw; its log tells, and it tries again."""


def slice_not_offered(slice_class: SliceClass) -> str:
    """The node has no slice of the class, free or taken."""
    return f"offers no slice {slice_class}"


def no_free_slice(slice_class: SliceClass) -> str:
    """All slices of the class are taken."""
    return f"has no free slice {slice_class}"


def device_not_named() -> str:
    """The node carries no device label."""
    return "names no device (label stowplan.dev/device), so nothing is known of its CPU"


def too_slow_alone(slice_class: SliceClass, percentile: int, upper_ms: float, slo_ms: float) -> str:
    """No eviction could help."""
    return f"{slice_class} is too slow even alone: p{percentile} up to {_ms(upper_ms)} ms, objective {_ms(slo_ms)} ms"


def soon_enough(percentile: int, upper_ms: float, slo_ms: float) -> str:
    """Alone it holds the objective."""
    return f"p{percentile} up to {_ms(upper_ms)} ms, objective {_ms(slo_ms)} ms"


def too_slow_beside_tenants(slice_class: SliceClass, percentile: int, slo_ms: float) -> str:
    """It would do alone; the tenants there slow it down too much. No prediction in the text: it differs from node to node."""
    return f"{slice_class} is too slow beside {_tenants(slice_class)}: p{percentile} above the objective of {_ms(slo_ms)} ms"


def load_not_sustained(slice_class: SliceClass) -> str:
    """Requests arrive faster than the slice works them off."""
    return f"{slice_class} cannot sustain the request rate"


def load_not_sustained_beside_tenants(slice_class: SliceClass) -> str:
    """Alone it would."""
    return f"{load_not_sustained(slice_class)} beside {_tenants(slice_class)}"


def resident_denies_sharing(resident: ServiceName) -> str:
    """A resident wants its device for itself."""
    return f"resident {resident} denies sharing"


def sharing_denied() -> str:
    """The newcomer wants a device for itself and others are there."""
    return "has other tenants, and this service denies sharing"


def not_judged(reason: UnknownReason, message: str) -> str:
    """The predictor cannot judge and the service rejects what is unknown."""
    return f"cannot be judged ({reason.value}): {message}" if message else f"cannot be judged ({reason.value})"


def basis_too_weak(basis: Basis, minimum: Basis) -> str:
    """There is a prediction, and the service does not take it for one."""
    return f"cannot be judged (BasisTooWeak): the prediction is {basis}, and spec.placement.minimumBasis is {minimum}"


def _tenants(slice_class: SliceClass) -> str:
    if slice_class.slice.kind in {SliceKind.MPS, SliceKind.TIME}:
        return "the tenants it may meet on one GPU (the kubelet picks the GPU; its worst choice counts)"
    return "the tenants there"


def _ms(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"

"""Answers of the predictor: a number with a basis, or no number with a reason."""

from dataclasses import dataclass
from enum import StrEnum


class Basis(StrEnum):
    """What an answer rests on."""

    MEASURED = "measured"
    EXTRAPOLATED = "extrapolated"
    UNVALIDATED = "unvalidated"
    UNKNOWN = "unknown"


class UnknownReason(StrEnum):
    """Why there is no judgement. The names are those of the proto, in the API's CamelCase."""

    GRAPH_NOT_FOUND = "GraphNotFound"
    RUNTIME_NOT_SUPPORTED = "RuntimeNotSupported"
    DEVICE_NOT_SUPPORTED = "DeviceNotSupported"
    DEVICE_NOT_DESCRIBED = "DeviceNotDescribed"
    SLICE_NOT_SUPPORTED = "SliceNotSupported"
    KERNEL_NOT_SUPPORTED = "KernelNotSupported"
    SERVER_NOT_SUPPORTED = "ServerNotSupported"
    TENANTS_NOT_SUPPORTED = "TenantsNotSupported"
    PREDICTION_NOT_FINITE = "PredictionNotFinite"


@dataclass(frozen=True, slots=True)
class LatencyInterval:
    """A predicted duration and how sure it is."""

    median_ms: float
    lower_ms: float
    upper_ms: float
    coverage: float
    """Share of predictions, over predictions and not over requests, for which the interval holds; between 0 and 1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the predictor says to one question."""

    basis: Basis
    unknown_reason: UnknownReason | None = None
    """Set exactly where basis is unknown."""
    message: str = ""
    isolated: LatencyInterval | None = None
    """Service time alone on the slice."""
    colocated: LatencyInterval | None = None
    """Service time beside the tenants."""
    response: LatencyInterval | None = None
    """The asked percentile of the response time under the load; None where it is unknown or cannot be sustained (utilization >= 1)."""
    utilization: float | None = None
    """Share of the time the server is busy; 1 or more cannot be sustained."""
    bundle: str = ""
    """`<name>@<version>` of what gave the answer."""

    @property
    def overloaded(self) -> bool:
        """True where the load cannot be sustained, however long one waits."""
        return self.utilization is not None and self.utilization >= 1.0


def unknown(reason: UnknownReason, message: str, bundle: str = "") -> Answer:
    """No judgement, with the reason."""
    return Answer(Basis.UNKNOWN, unknown_reason=reason, message=message, bundle=bundle)

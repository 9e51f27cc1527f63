"""Answers of the predictor: a number with a basis, or no number with a reason."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Basis(StrEnum):
    """What an answer rests on, the surest first; of an answer with several parts, its weakest. A service may want better (spec.placement.minimumBasis)."""

    MEASURED = "measured"
    """Device and kind of slice were measured when the bundle was trained."""
    EXTRAPOLATED = "extrapolated"
    """Physics and learned efficiency beyond what was measured; the interval is wider."""
    UNVALIDATED = "unvalidated"
    """A published formula that was never checked on this device."""
    UNKNOWN = "unknown"
    """No judgement; a reason says why."""

    def weaker_than(self, other: "Basis") -> bool:
        """Whether less may be relied on."""
        return _WEAKNESS[self] > _WEAKNESS[other]


_WEAKNESS: Final = {basis: place for place, basis in enumerate(Basis)}


class UnknownReason(StrEnum):
    """Why there is no judgement. The names are those of the proto, in the API's CamelCase."""

    GRAPH_NOT_FOUND = "GraphNotFound"
    """The predictor does not know the graph (any more): it is pushed again; never decided by onUnknown."""
    RUNTIME_NOT_SUPPORTED = "RuntimeNotSupported"
    """No bundle answers for this runtime."""
    DEVICE_NOT_SUPPORTED = "DeviceNotSupported"
    """The device is too far from those the bundle was measured on."""
    DEVICE_NOT_DESCRIBED = "DeviceNotDescribed"
    """Nothing describes the device: run `stowplan device` there."""
    SLICE_NOT_SUPPORTED = "SliceNotSupported"
    """The device has no such slice, or its resources are known to nobody."""
    KERNEL_NOT_SUPPORTED = "KernelNotSupported"
    """A kernel of the graph is of a kind that was never measured."""
    SERVER_NOT_SUPPORTED = "ServerNotSupported"
    """The server's settings (concurrency, batching) were never measured."""
    TENANTS_NOT_SUPPORTED = "TenantsNotSupported"
    """What tenants of this kind do to each other was never measured."""
    PREDICTION_NOT_FINITE = "PredictionNotFinite"
    """A model gave no number."""


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

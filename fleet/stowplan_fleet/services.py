"""Services and their objectives: what a user promised to whom, in plain values."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from stowplan_fleet.answers import Basis
from stowplan_fleet.slices import SliceClass

# `namespace/name` of an InferenceService.
ServiceName = NewType("ServiceName", str)
# `sha256:<hex>` of a bound operator graph (not of the model file).
GraphDigest = NewType("GraphDigest", str)


@dataclass(frozen=True, slots=True)
class Slo:
    """The response time that shall hold for a share of the requests."""

    latency_ms: float
    percentile: int = 95
    """Over requests, 1 to 99."""


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives at the whole service."""

    requests_per_second: float
    """Of the whole service, all replicas together; Poisson arrivals assumed."""
    payload_instances: int = 1
    """Model inputs in one request."""

    def per_replica(self, replicas: int) -> float:
        """Requests per second that one of `replicas` servers sees, spread evenly."""
        return self.requests_per_second / replicas


@dataclass(frozen=True, slots=True)
class Server:
    """How requests meet the model."""

    type: str = "onnxruntime"
    concurrency: int = 1
    """Requests worked on at the same time in one server process."""
    max_batch: int = 1


class OnUnknown(StrEnum):
    """What a service wants done where the predictor cannot judge."""

    REJECT = "Reject"
    ALLOW = "Allow"


class Sharing(StrEnum):
    """Whether a service accepts other tenants on its device."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class PlacementPolicy:
    """What a service wants of its place."""

    on_unknown: OnUnknown = OnUnknown.REJECT
    sharing: Sharing = Sharing.ALLOW
    slice_classes: tuple[SliceClass, ...] = ()
    """Only these, where there are any."""
    minimum_basis: Basis = Basis.UNVALIDATED
    """A prediction on a weaker basis counts as none: `on_unknown` decides."""

    def too_weak(self, basis: Basis) -> bool:
        """Whether there is a prediction, and it counts as none. Where there is none (`unknown`), that is not what is wrong with it."""
        return basis is not Basis.UNKNOWN and basis.weaker_than(self.minimum_basis)


@dataclass(frozen=True, slots=True)
class Service:
    """An inference service as everyone but the API server sees it."""

    name: ServiceName
    runtime: str
    slo: Slo
    load: Load
    server: Server = Server()
    graph_digest: GraphDigest | None = None
    """None until its model was analysed."""
    replicas: int = 1
    """Server processes it runs now, or shall run: the load is spread over them."""
    replicas_min: int = 1
    replicas_max: int = 1
    placement: PlacementPolicy = field(default_factory=PlacementPolicy)

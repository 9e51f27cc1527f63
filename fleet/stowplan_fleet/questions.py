"""Questions to the predictor, as hashable values: equal questions have equal answers within one bundle version."""

from dataclasses import dataclass, field
from functools import lru_cache

from stowplan_fleet.services import GraphDigest, Service
from stowplan_fleet.slices import SliceClass


@dataclass(frozen=True, slots=True)
class Occupant:
    """One server process of a service on one slice, with the load it carries."""

    graph_digest: GraphDigest
    slice_class: SliceClass
    requests_per_second: float
    """Requests that arrive at this one server process."""
    payload_instances: int = 1
    concurrency: int = 1
    max_batch: int = 1
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # A question about a full node names dozens of them, and is a key wherever answers are kept.
        parts = (self.graph_digest, self.slice_class, self.requests_per_second, self.payload_instances, self.concurrency, self.max_batch)
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class UnknownOccupant:
    """A process beside ours of which nothing but its requests for resources is known."""

    cpu_millicores: int


Tenant = Occupant | UnknownOccupant


@dataclass(frozen=True, slots=True)
class Question:
    """How long would this take there, beside these?"""

    subject: Occupant
    tenants: tuple[Tenant, ...] = ()
    """Everyone else on the same device, in a canonical order (`canonical_tenants`)."""
    percentile: int = 95
    """Over requests."""
    tenants_at_once: int | None = None
    """How many of the tenants at most can be on the subject's device; None: all of them. Set where a node has several shared GPUs: the kubelet picks the
    GPU, nobody knows which before the pod runs, and the answer shall hold for the worst choice."""


def occupant(service: Service, slice_class: SliceClass, replicas: int | None = None) -> Occupant:
    """One server process of an analysed service on a slice, carrying its share of the load.

    Raises:
        ValueError: the service's model was not analysed yet.
    """
    if service.graph_digest is None:
        raise ValueError(f"service {service.name}: its model was not analysed yet")
    return Occupant(
        graph_digest=service.graph_digest,
        slice_class=slice_class,
        requests_per_second=service.load.per_replica(replicas or service.replicas),
        payload_instances=service.load.payload_instances,
        concurrency=service.server.concurrency,
        max_batch=service.server.max_batch,
    )


def canonical_tenants(tenants: tuple[Tenant, ...] | list[Tenant]) -> tuple[Tenant, ...]:
    """The same tenants in one order, so that equal situations make equal questions."""
    return tuple(sorted(tenants, key=_text))


# A few services stand on many nodes; making the text of one takes ten times as long as finding it.
@lru_cache(4096)
def _text(tenant: Tenant) -> str:
    return repr(tenant)

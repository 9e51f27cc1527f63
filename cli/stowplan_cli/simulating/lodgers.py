"""Lodgers: who stands on each node of a cluster that was read, with the load that the extender sees on them; or, for an audit, with what was planned."""

from collections import Counter
from collections.abc import Mapping, Sequence

from stowplan_extender.cluster import lodgings
from stowplan_extender.cluster.lodgings import PodRecord
from stowplan_extender.decision import occupancies
from stowplan_extender.decision.occupancies import Lodger
from stowplan_fleet.nodes import NodeName
from stowplan_fleet.services import Service, ServiceName

# Names that a note lists.
_NAMED = 8


def as_they_stand(records: Sequence[PodRecord], services: Mapping[ServiceName, Service]) -> dict[ServiceName, Service]:
    """Services with their load on those of their pods that have a node, by the extender's rule (`occupancies.as_shared`)."""
    bound = _bound(records)
    return {name: occupancies.as_shared(service, bound[name]) for name, service in services.items()}


def lodgers_by_node(records: Sequence[PodRecord], services: Mapping[ServiceName, Service]) -> dict[NodeName, tuple[Lodger, ...]]:
    """Who is on each node; `services` say over how many servers each one's load is spread."""
    found: dict[NodeName, list[Lodger]] = {}
    for record in records:
        if record.node is not None:
            found.setdefault(record.node, []).append(lodgings.lodger_of(record, services.get))
    return {name: tuple(lodgers) for name, lodgers in found.items()}


def partly_placed(records: Sequence[PodRecord], services: Mapping[ServiceName, Service]) -> list[str]:
    """A note of the services, as planned, of which some servers have no node yet; none where all have one."""
    bound = _bound(records)
    waiting = [f"{name} ({bound[name]} of {service.replicas})" for name, service in sorted(services.items()) if 0 < bound[name] < service.replicas]
    if not waiting:
        return []
    shown = ", ".join(waiting[:_NAMED]) + (f" and {len(waiting) - _NAMED} more services" if len(waiting) > _NAMED else "")
    return [f"judged with the whole load on those servers that have a node, until the others have one: {shown}"]


def _bound(records: Sequence[PodRecord]) -> Counter[ServiceName]:
    return Counter(record.service for record in records if record.node is not None and record.service is not None)

"""What the cluster would do with services: the operator's ladder and climbs, and the extender's decision for each replica. The very code, called here.

What is not simulated: the rest of kube-scheduler (affinities, spreading, image locality, its own scores) and time. A replica takes the place that the extender
ranks first, and a service whose replicas do not all find one climbs at once, as it would after the operator's patience.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from stowplan_extender.cluster import lodgings
from stowplan_extender.decision import occupancies, placings
from stowplan_extender.decision.inquiries import Inquiry
from stowplan_extender.decision.occupancies import Newcomer, NodeState, Tenancy
from stowplan_extender.decision.verdicts import Acceptance
from stowplan_fleet import reasons
from stowplan_fleet.answers import Answer, Basis
from stowplan_fleet.devices import Device
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.nodes import NodeInventory, NodeName
from stowplan_fleet.predictors import Predictor
from stowplan_fleet.services import Service, ServiceName
from stowplan_fleet.slices import DeviceName, SliceClass
from stowplan_operator.sizing import climbs, ladders
from stowplan_operator.sizing.candidates import candidates
from stowplan_operator.sizing.climbs import Move, Patience, Tenure
from stowplan_operator.sizing.prices import Prices
from stowplan_operator.sizing.rungs import Rung
from stowplan_operator.workloads import templates

# A service described without a template is judged by its slice alone.
_BARE_TEMPLATE = {"spec": {"containers": [{"name": "server"}]}}


@dataclass(frozen=True, slots=True)
class Placed:
    """A replica with a place."""

    service: ServiceName
    replica: int
    node: NodeName
    slice_class: SliceClass
    predicted_ms: float | None
    """Upper end of the predicted percentile of the response time, which is what was held against the objective; None where the service allows unknown."""
    slo_ms: float
    basis: Basis
    """What the prediction rests on."""
    message: str = ""
    """Why it is not better than that; says too what was assumed of a choice that is not ours."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A replica without a place."""

    service: ServiceName
    replica: int
    reasons: dict[NodeName, str]
    judged: bool
    """False where nothing at all could be predicted for the service."""


@dataclass(slots=True)
class Cluster:
    """Nodes with everyone on them; changes as replicas are placed."""

    states: dict[NodeName, NodeState]
    devices: dict[DeviceName, Device]
    predictor: Predictor
    prices: Prices = field(default_factory=Prices)
    """As the nodes tell them; what the operator's settings add is not in a snapshot."""

    async def answers(self, inquiries: Sequence[Inquiry]) -> dict[Inquiry, Answer]:
        """What the predictor says, runtime by runtime."""
        found: dict[Inquiry, Answer] = {}
        for runtime in dict.fromkeys(inquiry.runtime for inquiry in inquiries):
            asked = [inquiry for inquiry in inquiries if inquiry.runtime == runtime]
            said = await self.predictor.predict([inquiry.question for inquiry in asked], self.devices, runtime)
            found.update(zip(asked, said, strict=True))
        return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service that looks for places."""

    manifest: InferenceServiceManifest
    service: Service
    """Analysed."""
    closed: Mapping[NodeName, str]
    """Nodes that the scheduler would not even ask about, and why."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    placed: tuple[Placed, ...]
    unplaced: tuple[Unplaced, ...]
    states: dict[NodeName, NodeState]


async def simulate(cluster: Cluster, candidate: Candidate) -> tuple[list[Placed], list[Unplaced]]:
    """Places a service; the cluster holds its replicas afterwards.

    Where no rung finds room for all replicas, the rung that places the most counts, the cheaper of equals.
    """
    ladder = await _ladder(cluster, candidate)
    patience = Patience()
    tenure: Tenure | None = None
    best: _Attempt | None = None
    while True:
        choice = climbs.choose(ladder, tenure, patience)
        if choice.rung is None or choice.move is Move.STUCK:
            break
        attempt = await _attempt(cluster, candidate, choice.rung)
        if best is None or len(attempt.placed) > len(best.placed):
            best = attempt
        if not attempt.unplaced:
            break
        blocked = (tenure.blocked if tenure else frozenset()) | {choice.rung.candidate.slice_class}
        tenure = Tenure(choice.rung.candidate.slice_class, held_s=0.0, unschedulable_s=patience.climb_after_s, blocked=blocked)
    if best is None:
        return [], _refused_everywhere(cluster, candidate, ladder)
    cluster.states = best.states
    return list(best.placed), list(best.unplaced)


async def _ladder(cluster: Cluster, candidate: Candidate) -> tuple[Rung, ...]:
    service = candidate.service
    found = candidates(_open_inventories(cluster, candidate), service.placement, service.runtime, cluster.prices)
    answers = await cluster.predictor.predict(ladders.questions_for(service, found), cluster.devices, service.runtime) if found else ()
    return ladders.ladder(service, found, answers)


def _open_inventories(cluster: Cluster, candidate: Candidate) -> list[NodeInventory]:
    return [state.inventory for name, state in cluster.states.items() if name not in candidate.closed]


async def _attempt(cluster: Cluster, candidate: Candidate, rung: Rung) -> _Attempt:
    states = dict(cluster.states)
    stood: list[tuple[NodeName, Newcomer]] = []
    placed: list[Placed] = []
    unplaced: list[Unplaced] = []
    for replica in range(rung.replicas):
        newcomer = _newcomer(candidate, rung, replica)
        asked = [state for name, state in states.items() if name not in candidate.closed]
        placing = placings.place(newcomer, asked, await cluster.answers(placings.inquire(newcomer, asked)))
        if not placing.accepted:
            unplaced.append(Unplaced(candidate.service.name, replica, {**placing.texts, **candidate.closed}, judged=True))
            continue
        node, acceptance = placing.accepted[0]
        states[node] = states[node].with_lodger(newcomer.lodger)
        stood.append((node, newcomer))
        # Without an answer it stands there because its rung was allowed without one.
        message = acceptance.answer.message if acceptance.answer is not None else rung.reason
        objective_ms, part = candidate.service.slo.latency_ms, rung.candidate.slice_class
        placed.append(Placed(candidate.service.name, replica, node, part, _predicted_ms(acceptance), objective_ms, acceptance.basis, message))
    for node, newcomer in stood:
        # Whoever comes after them meets them with the load of those that found no place, too.
        tenancy = Tenancy(occupancies.as_shared(newcomer.tenancy.service, len(stood)), newcomer.tenancy.slice_class)
        states[node] = states[node].with_lodger(replace(newcomer.lodger, tenancy=tenancy))
    return _Attempt(tuple(placed), tuple(unplaced), states)


def _refused_everywhere(cluster: Cluster, candidate: Candidate, ladder: Sequence[Rung]) -> list[Unplaced]:
    """Why no rung is allowed, node by node: what the operator says of the rung that comes closest there. It would make no pod at all."""
    service = candidate.service
    why: dict[NodeName, str] = dict(candidate.closed)
    for inventory in _open_inventories(cluster, candidate):
        offered = [rung for rung in ladder if _is_offered(inventory, rung.candidate.slice_class)]
        why[inventory.name] = min(offered, key=_closeness).reason if offered else _nothing_offered(inventory, service)
    judged = any(rung.judged for rung in ladder) or not ladder
    return [Unplaced(service.name, replica, why, judged) for replica in range(service.replicas_min)]


def _closeness(rung: Rung) -> tuple[float, str]:
    return (float("inf") if rung.predicted_ms is None else rung.predicted_ms, str(rung.candidate.slice_class))


def _is_offered(inventory: NodeInventory, slice_class: SliceClass) -> bool:
    if slice_class.slice.cpu_millicores:
        return inventory.cpu_device == slice_class.device and slice_class.slice.cpu_millicores <= inventory.cpu_millicores
    return any(offer.slice_class == slice_class for offer in inventory.offers)


def _nothing_offered(inventory: NodeInventory, service: Service) -> str:
    if service.runtime.endswith("-cpu") and inventory.cpu_device is None:
        return reasons.device_not_named()
    return f"offers no slice for runtime {service.runtime}"


def _predicted_ms(acceptance: Acceptance) -> float | None:
    answer = acceptance.answer
    return answer.response.upper_ms if answer is not None and answer.response is not None else None


def _newcomer(candidate: Candidate, rung: Rung, replica: int) -> Newcomer:
    """The pod that the operator's Deployment would make, as the extender would read it."""
    metadata = candidate.manifest.metadata
    template = templates.on_rung(candidate.manifest.spec.template or _BARE_TEMPLATE, metadata.name, rung)
    identity = {"name": f"{metadata.name}-{replica}", "namespace": metadata.namespace, "uid": f"{metadata.full_name}/{replica}"}
    pod = decoding.from_plain({**template, "metadata": {**template["metadata"], **identity}}, PodManifest, f"template of {metadata.full_name}")
    service = replace(candidate.service, replicas=rung.replicas)
    return lodgings.newcomer_of(lodgings.record_of(pod), {service.name: service}.get)

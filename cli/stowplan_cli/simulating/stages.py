"""The stage of a simulation: a snapshot, the services to place and every graph anybody needs, read and checked before anything is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stowplan_extender.decision.occupancies import NodeState
from stowplan_fleet.devices import merged_gpus
from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.manifests import decoding, nodes
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.manifests.services import input_shapes_of, service_of
from stowplan_fleet.nodes import NodeName
from stowplan_fleet.predictors import Predictor
from stowplan_fleet.services import Service, ServiceName
from stowplan_operator.reconciling.eligibilities import eligible
from stowplan_operator.sizing.prices import labelled

from stowplan_cli.objects import modelfiles, snapshots
from stowplan_cli.objects.snapshots import Snapshot
from stowplan_cli.simulating import lodgers, simulations
from stowplan_cli.simulating.simulations import Candidate, Cluster, Placed, Unplaced
from stowplan_cli.terminal.exits import Refused


@dataclass(frozen=True, slots=True)
class Stage:
    """All that was read."""

    snapshot: Snapshot
    newcomers: tuple[tuple[InferenceServiceManifest, bytes], ...]
    """Services to place with their models, in order."""
    residents: tuple[tuple[InferenceServiceManifest, bytes | None], ...]
    """Services that have pods in the snapshot; without a model where it is not here."""
    notes: tuple[str, ...] = field(default=())
    """What was left out or taken for granted."""


def prepare(services: Path, snapshot: Snapshot, models: Path | None) -> Stage:
    """Reads services and models for a cluster.

    Raises:
        Refused: a file is not acceptable, or a service's model is not here.
        ManifestRefused: a service is not acceptable.
    """
    wanted = snapshots.read_services(services)
    indexed = modelfiles.index_models(models)
    for manifest in wanted:
        _check_template(manifest)
    newcomers = tuple((manifest, modelfiles.model_of(manifest, indexed, snapshot.configmaps, services.parent)) for manifest in wanted)
    notes = list(snapshot.problems)
    names = {ServiceName(manifest.metadata.full_name) for manifest in wanted}
    redeployed = [record for record in snapshot.records if record.service in names]
    if redeployed:
        notes.append(f"{len(redeployed)} pods of services that are placed anew do not count: {', '.join(sorted(record.name for record in redeployed)[:8])}")
        snapshot.records = [record for record in snapshot.records if record.service not in names]
    residents, missing = residents_of(snapshot, indexed)
    return Stage(snapshot, newcomers, residents, (*notes, *missing))


def residents_of(snapshot: Snapshot, indexed: Mapping[str, Path]) -> tuple[tuple[tuple[InferenceServiceManifest, bytes | None], ...], list[str]]:
    """Services that have pods in a snapshot, each with its model where that is here; and notes of those whose model is not."""
    found: list[tuple[InferenceServiceManifest, bytes | None]] = []
    notes: list[str] = []
    for name in sorted({record.service for record in snapshot.records if record.service in snapshot.services and record.service is not None}):
        try:
            found.append((snapshot.services[name], modelfiles.model_of(snapshot.services[name], indexed, snapshot.configmaps, None)))
        except Refused as error:
            found.append((snapshot.services[name], None))
            notes.append(f"{error}; nodes it runs on stay closed to others")
    return tuple(found), notes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who found a place, and who did not."""

    placed: list[Placed] = field(default_factory=list)
    unplaced: list[Unplaced] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be judged on the way."""


async def run(stage: Stage, predictor: Predictor) -> Outcome:
    """Analyses every graph, then places service by service, each among those placed before.

    Raises:
        GraphRefused: the model of a service to place cannot be judged; names the service.
    """
    outcome = Outcome()
    cluster = await furnished(stage.snapshot, stage.residents, predictor, outcome.notes)
    for manifest, model in stage.newcomers:
        service = await _analysed(predictor, manifest, model)
        candidate = Candidate(manifest, service, closed(stage.snapshot.nodes, manifest))
        placed, unplaced = await simulations.simulate(cluster, candidate)
        outcome.placed.extend(placed)
        outcome.unplaced.extend(unplaced)
    return outcome


async def furnished(
    snapshot: Snapshot,
    residents: Sequence[tuple[InferenceServiceManifest, bytes | None]],
    predictor: Predictor,
    notes: list[str],
    *,
    planned: bool = False,
) -> Cluster:
    """The cluster with everyone on it, residents analysed by this predictor.

    Args:
        snapshot: what was read of it.
        residents: services that have pods there, with their models where those are here.
        predictor: who analyses.
        notes: gains what could not be analysed, and who carries more than is planned.
        planned: spread each service's load over all its servers, also over those that have no node yet; else over those that have one, as the extender does.
    """
    known: dict[ServiceName, Service] = {}
    for manifest, model in residents:
        # A graph that only the cluster's predictor knows is as good as none here: the resident cannot be judged, and the verdict names it.
        resident = replace(service_of(manifest), graph_digest=None)
        try:
            known[resident.name] = resident if model is None else await _analysed(predictor, manifest, model)
        except GraphRefused as error:
            known[resident.name] = resident
            notes.append(f"{error}; nodes it runs on stay closed to others")
    if not planned:
        notes += lodgers.partly_placed(snapshot.records, known)
        known = lodgers.as_they_stand(snapshot.records, known)
    return _cluster(snapshot, known, predictor)


async def _analysed(predictor: Predictor, manifest: InferenceServiceManifest, model: bytes) -> Service:
    service = service_of(manifest)
    try:
        summary = await predictor.analyze(model, input_shapes_of(manifest))
    except GraphRefused as error:
        raise GraphRefused(f"InferenceService {service.name}: {error}") from error
    return replace(service, graph_digest=summary.graph_digest)


def _cluster(snapshot: Snapshot, residents: Mapping[ServiceName, Service], predictor: Predictor) -> Cluster:
    standing = lodgers.lodgers_by_node(snapshot.records, residents)
    inventories = [nodes.inventory_of(node) for node in snapshot.nodes]
    return Cluster(
        states={inventory.name: NodeState(inventory, standing.get(inventory.name, ())) for inventory in inventories},
        devices={**merged_gpus(gpu for inventory in inventories for gpu in inventory.gpus), **snapshot.devices},
        predictor=predictor,
        prices=labelled((inventory, node.metadata.labels) for inventory, node in zip(inventories, snapshot.nodes, strict=True))[0],
    )


def closed(found: Sequence[NodeManifest], manifest: InferenceServiceManifest) -> dict[NodeName, str]:
    """Nodes the scheduler would not ask about: by the operator's rule, in words."""
    open_names = {node.metadata.name for node in eligible(found, manifest.spec.template)}
    return {NodeName(node.metadata.name): _why_closed(node) for node in found if node.metadata.name not in open_names}


def _why_closed(node: NodeManifest) -> str:
    if not nodes.is_ready(node):
        return "is not ready"
    return "is cordoned" if node.spec.unschedulable else "its labels or taints keep the service's pods off"


def _check_template(manifest: InferenceServiceManifest) -> None:
    """What the operator's code takes for granted of a template, because the resource definition demands it."""
    name, template = manifest.metadata.full_name, manifest.spec.template
    if not template:
        return
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if not isinstance(containers, list) or not containers:
        raise Refused(f"InferenceService {name}: spec.template.spec.containers: name at least one container")
    decoding.from_plain(template, PodManifest, f"InferenceService {name}, spec.template")
    for container in containers:
        environment = container.get("env") or []
        if not isinstance(environment, list) or not all(isinstance(entry, dict) for entry in environment):
            raise Refused(f"InferenceService {name}: spec.template.spec.containers: env must be a list of mappings")

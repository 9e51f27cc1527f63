"""`kubectl stowplan explain SERVICE`: why a service runs where it runs, and why not elsewhere."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli.objects import clusters
from stowplan_cli.placements import parts, placing
from stowplan_cli.placements.views import View
from stowplan_cli.terminal import optionsets, outputs, progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from stowplan_fleet.answers import Answer
    from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
    from stowplan_predictor.serving.local import LocalPredictor

    from stowplan_cli.objects.snapshots import Snapshot
    from stowplan_cli.simulating.standings import Standing


@dataclass(frozen=True, slots=True)
class _Account:
    """What is said of a service."""

    standings: Sequence["Standing"]
    """Its servers."""
    alone: "Answer | None" = None
    """One more, with nobody beside it."""
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Whether one more would be let there, by node."""


def register(app: typer.Typer) -> None:
    """Adds the command: as a plugin of kubectl, a name is a service's, not a file's."""
    app.command("explain")(optionsets.spread(explain_service))


def explain_service(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="Name of an InferenceService.")],
    *,
    namespace: clusters.NamespaceOption = "",
    view: View,
) -> None:
    """Show a service's ladder, what each of its servers' time is made of, and where one more server could go or why not."""
    found = view.snapshot()
    name = f"{namespace or (clusters.namespace_of(view.access) if view.cluster is None else 'default')}/{service}"
    manifest = next((item for key, item in found.services.items() if key == name), None)
    if manifest is None:
        known = ", ".join(sorted(found.services)[:10]) or "none at all"
        raise Refused(f"there is no InferenceService {name}; there are {known}")
    notes = list(found.problems)
    with progresses.waiting("judging"):
        account = asyncio.run(_account(found, manifest, view.models, view.predictor(), notes))
    placing.say(notes)
    document = _document(name, manifest, account, found)
    outputs.emit(document, view.output, lambda console: _print(console, document))


async def _account(
    found: "Snapshot",
    manifest: "InferenceServiceManifest",
    models: "Path | None",
    predictor: "LocalPredictor",
    notes: list[str],
) -> _Account:
    """Its servers' standings, a server's prediction with nobody beside it, and for each node whether one more server would be let there."""
    from stowplan_extender.decision import inquiries, placings
    from stowplan_extender.decision.occupancies import Newcomer, PodUid, Requests, Tenancy
    from stowplan_fleet.manifests.services import input_shapes_of, service_of
    from stowplan_fleet.slices import parse_slice_class

    from stowplan_cli.objects import modelfiles
    from stowplan_cli.simulating import stages
    from stowplan_cli.simulating.standings import standings

    indexed = modelfiles.index_models(models)
    residents, missing = stages.residents_of(found, indexed)
    notes += missing
    cluster = await stages.furnished(found, residents, predictor, notes)
    name = service_of(manifest).name
    states = [cluster.states[key] for key in sorted(cluster.states)]
    own = [item for item in await standings(cluster, states) if item.service.name == name]
    if not manifest.status.slice_class:
        return _Account(own)
    try:
        model = modelfiles.model_of(manifest, indexed, found.configmaps, None)
    except Refused as error:
        notes.append(f"{error}; without it nobody can say here where one more server could go")
        return _Account(own)
    summary = await predictor.analyze(model, input_shapes_of(manifest))
    service = replace(service_of(manifest), graph_digest=summary.graph_digest)
    mine = [record for record in found.records if record.service == name]
    slice_class = parse_slice_class(manifest.status.slice_class)
    requests = mine[0].requests if mine else Requests(cpu_millicores=slice_class.slice.cpu_millicores)
    more = Newcomer(PodUid("one more"), requests, Tenancy(service, slice_class))
    closed = stages.closed(found.nodes, manifest)
    asked = [state for state in states if state.inventory.name not in closed]
    placed = placings.place(more, asked, await cluster.answers(placings.inquire(more, asked)))
    verdicts: dict[str, dict[str, Any]] = {str(node): {"accepted": False, "reason": why} for node, why in {**placed.texts, **closed}.items()}
    for node, acceptance in placed.accepted:
        response = acceptance.answer.response if acceptance.answer else None
        verdicts[str(node)] = {"accepted": True, "predictedMilliseconds": response.upper_ms if response else None}
    alone = inquiries.alone_on(more.tenancy)
    return _Account(own, (await cluster.answers([alone])).get(alone) if alone is not None else None, verdicts)


def _document(name: str, manifest: "InferenceServiceManifest", account: _Account, found: "Snapshot") -> dict[str, Any]:
    status, pods = manifest.status, {record.uid: record.name for record in found.records}
    return {
        "service": name,
        "sliceClass": status.slice_class or None,
        "sloMilliseconds": manifest.spec.slo.latency_milliseconds,
        "percentile": manifest.spec.slo.percentile,
        "minimumBasis": manifest.spec.placement.minimum_basis,
        "conditions": [{"type": item.type, "status": item.status, "reason": item.reason, "message": item.message} for item in status.conditions],
        "ladder": [
            {
                "sliceClass": rung.slice_class, "replicas": rung.replicas, "predictedMilliseconds": rung.predicted_milliseconds, "basis": rung.basis,
                "meetsSLO": rung.meets_slo, "skipped": rung.skipped or None, "reason": rung.reason,
            }
            for rung in status.ladder
        ],
        "servers": [
            {
                "pod": pods.get(item.pod, str(item.pod)), "node": item.node,
                **parts.parts_of(item.alone, item.beside),
            }
            for item in account.standings
        ],
        "alone": parts.parts_of(account.alone, account.alone) if account.alone is not None else None,
        "oneMore": dict(sorted(account.verdicts.items())),
    }  # fmt: skip


def _print(console: "Console", document: dict[str, Any]) -> None:
    objective = f"p{document['percentile']} within {document['sloMilliseconds']} ms, by predictions that are {document['minimumBasis']} or surer"
    console.print(f"{document['service']}: {objective}; slice {document['sliceClass'] or 'not chosen yet'}", markup=False)
    for condition in document["conditions"]:
        if condition["status"] != "True":
            console.print(f"  {condition['type']} is {condition['status']} ({condition['reason']}): {condition['message']}", markup=False)
    if document["ladder"]:
        console.print("\nLadder, cheapest first:", markup=False)
        rows = [
            [
                "*" if rung["sliceClass"] == document["sliceClass"] else "",
                rung["sliceClass"],
                f"{rung['skipped']}: {rung['reason']}" if rung["skipped"] else rung["reason"],
                rung["basis"],
                str(rung["replicas"]),
                parts.shown(rung["predictedMilliseconds"]),
            ]
            for rung in document["ladder"]
        ]
        outputs.print_rows(console, ["", "SLICE CLASS", "WHY", "BASIS", "REPLICAS", "PREDICTED MS"], rows, left=4)
    if document["servers"]:
        console.print(
            "\nServers (medians: alone, what neighbours and queueing add, their sum; then the upper end that is held against the objective):", markup=False
        )
        outputs.print_rows(console, ["POD", "NODE", *parts.HEADINGS], [[item["pod"], item["node"], *parts.cells(item)] for item in document["servers"]], left=2)
    elif document["alone"] is not None:
        console.print("\nNo server has a node yet. One with nobody beside it:", markup=False)
        outputs.print_rows(console, ["SLICE CLASS", *parts.HEADINGS], [[document["sliceClass"], *parts.cells(document["alone"])]], left=1)
    if document["oneMore"]:
        console.print("\nOne more server:", markup=False)
        grouped: dict[str, list[str]] = {}
        for node, verdict in document["oneMore"].items():
            text = f"would fit, up to {parts.shown(verdict['predictedMilliseconds'])} ms" if verdict["accepted"] else verdict["reason"]
            grouped.setdefault(text, []).append(node)
        for text, names in grouped.items():
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            console.print(f"  {shown}: {text}", markup=False)

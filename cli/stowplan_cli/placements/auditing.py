"""`kubectl stowplan audit`: do the promises hold in this cluster? Reads the API server, believes nobody else, changes nothing."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from stowplan_fleet import keys

from stowplan_cli.objects import clusters
from stowplan_cli.objects.plainobjects import annotations_of, bound_at, changed_at, full_name, is_ours
from stowplan_cli.placements import placing
from stowplan_cli.placements.views import View
from stowplan_cli.promises import audits
from stowplan_cli.promises.audits import Finding, Invariant
from stowplan_cli.terminal import exits, optionsets, outputs, progresses

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from rich.console import Console
    from stowplan_fleet.predictors import Predictor

    from stowplan_cli.simulating.standings import Standing


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("audit")(optionsets.spread(audit))


def audit(
    *,
    view: View,
    predict: Annotated[bool, typer.Option("--predict/--no-predict", help="Also predict anew how each server fares beside its neighbours.")] = True,
) -> None:
    """Check the promises: no slice given twice, everyone bound as decided, nobody over their objective by our own prediction.

    Exit status 4 where a promise is broken. What changed after the decision (an objective, a label) is noted, and breaks nothing.
    """
    from stowplan_cli.objects import documents

    items = documents.read_objects(view.cluster) if view.cluster else list(clusters.objects_of(view.access))
    findings = structural(items)
    if predict:
        with progresses.waiting("judging tenants"):
            found, notes = asyncio.run(predicted(items, view.predictor(), view.models))
        findings += found
        placing.say(notes)
    outputs.emit(_document(findings), view.output, lambda console: _print(console, findings))
    if any(finding.broken for finding in findings):
        raise typer.Exit(exits.BROKEN)


def structural(items: Sequence[dict[str, Any]]) -> list[Finding]:
    """The findings that need no prediction."""
    return audits.structural(*(_of_kind(items, kind) for kind in ("Node", "Pod", keys.KIND)))


async def predicted(items: Sequence[dict[str, Any]], predictor: "Predictor", models: "Path | None" = None) -> tuple[list[Finding], list[str]]:
    """Who is over their objective by this predictor, with the load that is planned for each; and notes of what could not be judged.

    Planned, not what those carry that have a node while others wait for one: a pod is let in for the load that will be its own, and that it carries more until
    the rest have a node was nobody's decision.
    A server that was bound by another bundle than the one that judges here is noted, not counted as broken; so is one whose service, node or neighbours'
    services were changed after the last binding on its node, or on whose node (itself, too) a service's servers are being replaced by those of another
    slice class.
    """
    from stowplan_cli.objects import modelfiles, snapshots
    from stowplan_cli.simulating import stages
    from stowplan_cli.simulating.standings import standings

    snapshot = snapshots.snapshot_of(items)
    residents, missing = stages.residents_of(snapshot, modelfiles.index_models(models))
    notes = [*snapshot.problems, *missing]
    stage = await stages.furnished(snapshot, residents, predictor, notes, planned=True)
    fared = await standings(stage, [stage.states[name] for name in sorted(stage.states)])
    by_uid = {pod["metadata"].get("uid") or full_name(pod): pod for pod in _of_kind(items, "Pod")}
    named = {full_name(item): item for item in _of_kind(items, keys.KIND)} | {item["metadata"]["name"]: item for item in _of_kind(items, "Node")}
    findings = [finding for standing in fared if (finding := _judge(standing, by_uid, named, fared)) is not None]
    return findings, notes


def _judge(standing: "Standing", by_uid: dict[str, Any], named: dict[str, Any], fared: "Sequence[Standing]") -> Finding | None:
    beside = standing.beside
    overloaded = beside is not None and beside.overloaded and not standing.too_weak
    if not overloaded and (standing.headroom_ms is None or standing.headroom_ms >= 0):
        return None
    pod = by_uid[str(standing.pod)]
    slo = f"its objective of {standing.service.slo.latency_ms:g} ms"
    response = beside.response if beside is not None else None
    text = f"cannot sustain its load within {slo}" if response is None else f"is predicted at {response.upper_ms:.3g} ms against {slo}"
    here = [item for item in fared if item.node == standing.node]
    newest = max(filter(None, (bound_at(by_uid[str(item.pod)]) for item in here)), default=None)
    involved = [named.get(str(standing.node)), *(named.get(str(item.service.name)) for item in here)]
    changed = max(filter(None, (changed_at(item) for item in involved if item is not None)), default=None)
    other_bundle = beside is not None and annotations_of(pod).get(keys.BUNDLE_ANNOTATION, beside.bundle) != beside.bundle
    since = changed is not None and newest is not None and changed > newest
    crowded = newest is not None and any(_came_since(pod, standing.node, newest) for pod in by_uid.values())
    excuses = {
        "bound by another bundle": other_bundle,
        "changed since it was bound": since,
        "another scheduler's pod came since": crowded,
        "a service there is moving to another slice class": any(_is_left(item, named) for item in here),
    }
    why = next((f"; {excuse}" for excuse, holds in excuses.items() if holds), "")
    where = f"pod {full_name(pod)} on node {standing.node}"
    return Finding(Invariant.NO_RESIDENT_OVER_OBJECTIVE, where, text + why, broken=not why)


def _is_left(standing: "Standing", named: dict[str, Any]) -> bool:
    """Whether its service has moved on to another slice class: what is planned there says nothing of servers that are on their way out."""
    present = (named[str(standing.service.name)].get("status") or {}).get("sliceClass")
    return bool(present) and present != str(standing.slice_class)


def _came_since(pod: dict[str, Any], node: str, moment: "dt.datetime") -> bool:
    """Whether others put a pod there in the second of our last binding or later."""
    came = bound_at(pod)
    return not is_ours(pod) and pod["spec"].get("nodeName") == node and came is not None and came >= moment


def _of_kind(items: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in items if item["kind"] == kind]


def _document(findings: Sequence[Finding]) -> dict[str, Any]:
    rows = [{"invariant": item.invariant.value, "where": item.where, "text": item.text, "broken": item.broken} for item in findings]
    return {"broken": sum(item.broken for item in findings), "findings": rows}


def _print(console: "Console", findings: Sequence[Finding]) -> None:
    if findings:
        rows = [["broken" if item.broken else "noted", item.invariant.value, item.where, item.text] for item in findings]
        outputs.print_rows(console, ["", "INVARIANT", "WHERE", "WHAT"], rows, left=4)
    else:
        console.print("every promise holds")

"""`stowplan nodes`, `what-if` and `snapshot`: a live cluster seen as the extender sees it. Nothing is changed there."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli.objects import clusters
from stowplan_cli.objects.clusters import Access
from stowplan_cli.placements import placing
from stowplan_cli.placements.views import View
from stowplan_cli.terminal import optionsets, outputs, progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_fleet.nodes import NodeInventory

    from stowplan_cli.objects.snapshots import Snapshot
    from stowplan_cli.simulating.standings import Standing


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("nodes")(optionsets.spread(nodes))
    app.command("what-if")(optionsets.spread(what_if))
    app.command("snapshot")(snapshot)


def nodes(*, view: View) -> None:
    """Show each node's slices, its tenants, and what is left to each tenant's objective."""
    from stowplan_cli.objects import modelfiles
    from stowplan_cli.simulating import stages

    found = view.snapshot()
    residents, notes = stages.residents_of(found, modelfiles.index_models(view.models))
    notes = [*found.problems, *notes]
    with progresses.waiting("judging tenants"):
        inventories, standings = asyncio.run(_survey(found, residents, view.predictor(), notes))
    placing.say(notes)
    document = {"nodes": [_node(inventory, found, [item for item in standings if item.node == inventory.name]) for inventory in inventories]}
    outputs.emit(document, view.output, lambda console: _print_nodes(console, document))


def what_if(services: placing.ServicesOption, *, view: View) -> None:
    """Say where services would run in the live cluster as it is now; nothing is changed there."""
    placing.place_in(view.snapshot(), services, view.models, bundle=view.bundle, runtime=view.runtime, output=view.output)


def snapshot(
    file: Annotated[
        Path | None, typer.Option("--filename", "-f", metavar="FILE", help="Where to write it; stdout where not given.", show_default=False)
    ] = None,
    *,
    kubeconfig: clusters.KubeconfigOption = "",
    context: clusters.ContextOption = "",
) -> None:
    """Write what decisions depend on, for `place --cluster` and for bug reports: no secrets, no values of environment variables, no commands."""
    import yaml

    from stowplan_cli.objects.redactions import redacted

    items = [redacted(item) for item in clusters.objects_of(Access(kubeconfig, context))]
    text = yaml.dump({"apiVersion": "v1", "kind": "List", "items": items}, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    if file is None:
        sys.stdout.write(text)
        return
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Refused(f"{file}: cannot be written ({error.strerror}); name a file in a directory of yours") from error
    sys.stderr.write(f"stowplan: {len(items)} objects written to {file}\n")


async def _survey(found: "Snapshot", residents: Any, predictor: Any, notes: list[str]) -> tuple[list["NodeInventory"], list["Standing"]]:  # noqa: ANN401
    from stowplan_cli.simulating import stages
    from stowplan_cli.simulating.standings import standings

    cluster = await stages.furnished(found, residents, predictor, notes)
    states = [cluster.states[name] for name in sorted(cluster.states)]
    return [state.inventory for state in states], await standings(cluster, states)


def _node(inventory: "NodeInventory", found: "Snapshot", here: Sequence["Standing"]) -> dict[str, Any]:
    taken = sum(record.requests.cpu_millicores for record in found.records if record.node == inventory.name)
    names = {record.uid: record.name for record in found.records}
    ours = {item.pod for item in here}
    others = [record.name for record in found.records if record.node == inventory.name and record.uid not in ours]
    return {
        "name": inventory.name,
        "cpuDevice": inventory.cpu_device,
        "cpuMillicores": inventory.cpu_millicores,
        "cpuMillicoresLeft": inventory.cpu_millicores - taken,
        "slices": [
            {
                "sliceClass": str(offer.slice_class),
                "count": offer.count,
                "left": offer.count - sum(record.requests.count(offer.resource) for record in found.records if record.node == inventory.name),
            }
            for offer in inventory.offers
        ],
        "tenants": [_tenant(item, names) for item in here],
        "otherPods": others,
        "problems": list(inventory.problems),
    }


def _tenant(item: "Standing", names: dict[Any, str]) -> dict[str, Any]:
    from stowplan_fleet import reasons

    response = item.beside.response if item.beside else None
    unknown = None
    if response is None:
        unknown = (item.beside.message or "its load cannot be sustained") if item.beside else "its model is not here"
    if item.beside is not None and item.too_weak:
        unknown = reasons.basis_too_weak(item.beside.basis, item.service.placement.minimum_basis)
    return {
        "pod": names.get(item.pod, str(item.pod)),
        "service": item.service.name,
        "sliceClass": str(item.slice_class),
        "predictedMilliseconds": response.upper_ms if response else None,
        "sloMilliseconds": item.service.slo.latency_ms,
        "headroomMilliseconds": item.headroom_ms,
        "basis": str(item.beside.basis) if item.beside else "unknown",
        "unknown": unknown,
    }


def _print_nodes(console: "Console", document: dict[str, Any]) -> None:
    rows = []
    for node in document["nodes"]:
        cpu = f"{node['cpuMillicoresLeft']}m of {node['cpuMillicores']}m"
        slices = ", ".join(f"{item['sliceClass'].partition('/')[2]} {item['left']}/{item['count']}" for item in node["slices"]) or "-"
        first = [node["name"], node["cpuDevice"] or "not named", cpu, slices]
        tenants = node["tenants"] or [None]
        for position, tenant in enumerate(tenants):
            lead = first if position == 0 else ["", "", "", ""]
            if tenant is None:
                rows.append([*lead, "-", "", "", "", ""])
                continue
            headroom = tenant["headroomMilliseconds"]
            rows.append([
                *lead, tenant["pod"], tenant["sliceClass"].partition("/")[2],
                outputs.milliseconds(tenant["predictedMilliseconds"]) if headroom is not None else "unknown", outputs.milliseconds(tenant["sloMilliseconds"]),
                f"{headroom:+.3g}" if headroom is not None else tenant["unknown"] or "unknown",
            ])  # fmt: skip
    outputs.print_rows(console, ["NODE", "CPU", "CPU LEFT", "SLICES LEFT", "TENANT", "SLICE", "PREDICTED MS", "OBJECTIVE MS", "HEADROOM MS"], rows, left=6)
    for node in document["nodes"]:
        for problem in node["problems"]:
            console.print(f"{node['name']}: {problem}", markup=False)

"""Makes the Grafana dashboards of the chart from a few dataclasses: `python tools/generators/dashboards.py ROOT` writes below ROOT.

What every panel has: a title, a description, a unit, the datasource variable, and rates over `$__rate_interval`. Grafana's schema version 39 (Grafana 10.3 on).
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path("charts/stowplan/files/dashboards")
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
_HEIGHTS: Final = {"stat": 4, "table": 8, "timeseries": 8, "heatmap": 8}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; `queries` are pairs of an expression and its legend."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `variables` are pairs of a name and the query of its values."""

    uid: str
    title: str
    description: str
    variables: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...] = field(default=())


_OF = '{namespace=~"$namespace", service=~"$service"}'
_WHERE = 'namespace=~"$namespace", service=~"$service"'
_HERE = 'namespace=~"$namespace"'
_OBJECTIVE = f"max by (namespace, service) (stowplan_service_objective_seconds{_OF})"
_PREDICTED = f"max by (namespace, service) (stowplan_service_predicted_seconds{_OF})"
_OBSERVED = f"stowplan:service_observed_p95_seconds{_OF}"


def _rate(metric: str, labels: str = "") -> str:
    return f"rate({metric}{{{_HERE}{', ' + labels if labels else ''}}}[$__rate_interval])"


def _quantile(share: float, metric: str, by: str, labels: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) ({_rate(metric + '_bucket', labels)}))"


SERVICES = Dashboard(
    "stowplan-services",
    "Stowplan / Services",
    "Objectives, predictions and what servers observe; slices that are left.",
    (
        ("namespace", "label_values(stowplan_service_objective_seconds, namespace)"),
        ("service", f"label_values(stowplan_service_objective_seconds{{{_HERE}}}, service)"),
    ),
    (
        Row(
            "Objectives",
            (
                Panel(
                    "Ready",
                    "Services all of whose replicas serve.",
                    "short",
                    ((f'sum(stowplan_service_condition{{condition="Ready", status="True", {_WHERE}}}) or vector(0)', "ready"),),
                    "stat",
                    6,
                ),
                Panel(
                    "Not ready",
                    "Services with a replica that does not serve, or of which that is not known.",
                    "short",
                    ((f'sum(stowplan_service_condition{{condition="Ready", status!="True", {_WHERE}}}) or vector(0)', "not ready"),),
                    "stat",
                    6,
                ),
                Panel(
                    "Over the objective",
                    "Services whose observed 95th percentile is above their objective; only those that something observes count.",
                    "short",
                    (
                        (
                            f"count({_OBSERVED} > on (namespace, service) group_left () {_OBJECTIVE}) or vector(0)",
                            "over",
                        ),
                    ),
                    "stat",
                    6,
                ),
                Panel(
                    "Without a spare slice",
                    "Services with a pod that finds no slice.",
                    "short",
                    ((f'count(stowplan_service_condition{{condition="Scheduled", reason="NoSpareSlice", {_WHERE}}}) or vector(0)', "no spare slice"),),
                    "stat",
                    6,
                ),
                Panel(
                    "What does not hold",
                    "Conditions that are not true, with their reason; kubectl describe has the words.",
                    "short",
                    ((f'max by (namespace, service, condition, reason) (stowplan_service_condition{{status!="True", {_WHERE}}})', ""),),
                    "table",
                    24,
                ),
            ),
        ),
        Row(
            "Latency",
            (
                Panel(
                    "Predicted against observed",
                    "Upper end of the predicted percentile on the present rung, the 95th percentile as servers tell it, and the objective.",
                    "s",
                    (
                        (f"{_PREDICTED}", "{{service}} predicted"),
                        (_OBSERVED, "{{service}} observed ({{source}})"),
                        (f"{_OBJECTIVE}", "{{service}} objective"),
                    ),
                    width=24,
                ),
                Panel(
                    "Headroom to the objective",
                    "Share of the objective that the prediction leaves; below zero it is predicted to miss.",
                    "percentunit",
                    (
                        (
                            f"1 - {_PREDICTED} / {_OBJECTIVE}",
                            "{{service}}",
                        ),
                    ),
                    width=12,
                ),
                Panel(
                    "Error of the prediction",
                    "Observed 95th percentile over the upper end of the prediction, less one: above zero the prediction was too low.",
                    "percentunit",
                    (
                        (
                            f"{_OBSERVED} / on (namespace, service) group_left () {_PREDICTED} - 1",
                            "{{service}} ({{source}})",
                        ),
                    ),
                    width=12,
                ),
            ),
        ),
        Row(
            "Slices",
            (
                Panel(
                    "Cores",
                    "Allocatable cores of ready nodes by device, and those that our servers have; pods of others are not subtracted.",
                    "short",
                    (("sum by (device) (stowplan_cluster_cores)", "{{device}} there"), ("sum by (device) (stowplan_cluster_cores_used)", "{{device}} used")),
                ),
                Panel(
                    "GPU slices",
                    "Slices that ready nodes offer by class, and those that our servers have.",
                    "short",
                    (
                        ("sum by (slice_class) (stowplan_cluster_slices)", "{{slice_class}} there"),
                        ("sum by (slice_class) (stowplan_cluster_slices_used)", "{{slice_class}} used"),
                    ),
                ),
                Panel(
                    "Replicas",
                    "Replicas that services want, by slice class.",
                    "short",
                    ((f"sum by (slice_class) (stowplan_service_replicas{_OF})", "{{slice_class}}"),),
                ),
            ),
        ),
    ),
)

COMPONENTS = Dashboard(
    "stowplan-components",
    "Stowplan / Components",
    "Extender, predictor and operator: rates, errors, durations, and what they work with.",
    (("namespace", "label_values(stowplan_extender_view_synced, namespace)"),),
    (
        Row(
            "Extender",
            (
                Panel(
                    "Time to answer",
                    "Median and 99th percentile of the answers to the scheduler, by verb; the scheduler waits two seconds.",
                    "s",
                    (
                        (_quantile(0.5, "stowplan_extender_request_seconds", "verb"), "{{verb}} p50"),
                        (_quantile(0.99, "stowplan_extender_request_seconds", "verb"), "{{verb}} p99"),
                    ),
                ),
                Panel(
                    "Requests",
                    "Requests of the scheduler by verb and outcome.",
                    "reqps",
                    ((f"sum by (verb, outcome) ({_rate('stowplan_extender_request_seconds_count')})", "{{verb}} {{outcome}}"),),
                ),
                Panel(
                    "Filter",
                    "How long filters took.",
                    "s",
                    ((f'sum by (le) (increase(stowplan_extender_request_seconds_bucket{{{_HERE}, verb="filter"}}[$__rate_interval]))', "{{le}}"),),
                    "heatmap",
                ),
                Panel(
                    "Refusals by reason",
                    "Nodes judged by filters, by kind of verdict.",
                    "ops",
                    ((f"sum by (verdict) ({_rate('stowplan_extender_nodes_judged_total')})", "{{verdict}}"),),
                ),
                Panel("Bindings", "Bindings by how they ended.", "ops", ((f"sum by (outcome) ({_rate('stowplan_extender_bindings_total')})", "{{outcome}}"),)),
                Panel(
                    "Wake-ups",
                    "Pods that were refused and woken because a node would take them now.",
                    "ops",
                    ((f"sum by (outcome) ({_rate('stowplan_extender_wake_ups_total')})", "{{outcome}}"),),
                ),
                Panel(
                    "Answers without a fresh prediction",
                    "Questions nobody answered, by what stood in.",
                    "ops",
                    ((f"sum by (used) ({_rate('stowplan_extender_degraded_answers_total')})", "{{used}}"),),
                ),
                Panel(
                    "Age of the view",
                    "Time since each watch was last in touch; decisions rest on it.",
                    "s",
                    ((f"max by (resource) (stowplan_extender_view_staleness_seconds{{{_HERE}}})", "{{resource}}"),),
                ),
                Panel(
                    "The predictor, seen from here",
                    "Median and 99th percentile of its answers by outcome.",
                    "s",
                    (
                        (_quantile(0.5, "stowplan_extender_predictor_rpc_seconds", "outcome"), "{{outcome}} p50"),
                        (_quantile(0.99, "stowplan_extender_predictor_rpc_seconds", "outcome"), "{{outcome}} p99"),
                    ),
                ),
            ),
        ),
        Row(
            "Predictor",
            (
                Panel(
                    "Time to answer",
                    "Median and 99th percentile by method.",
                    "s",
                    (
                        (_quantile(0.5, "stowplan_predictor_rpc_seconds", "method"), "{{method}} p50"),
                        (_quantile(0.99, "stowplan_predictor_rpc_seconds", "method"), "{{method}} p99"),
                    ),
                ),
                Panel(
                    "Calls and errors",
                    "Calls by method and status code.",
                    "reqps",
                    ((f"sum by (method, code) ({_rate('stowplan_predictor_rpc_seconds_count')})", "{{method}} {{code}}"),),
                ),
                Panel(
                    "Answers by basis",
                    "What answers rest on; unknown ones with their reason.",
                    "ops",
                    ((f"sum by (basis, unknown_reason) ({_rate('stowplan_predictor_answers_total')})", "{{basis}} {{unknown_reason}}"),),
                ),
                Panel(
                    "Caches",
                    "Memory of the caches by content.",
                    "bytes",
                    ((f"sum by (runtime, cache) (stowplan_predictor_cache_bytes{{{_HERE}}})", "{{runtime}} {{cache}}"),),
                ),
                Panel(
                    "Waiting",
                    "Calls accepted and not begun; beyond the queue's bound callers are told to come back.",
                    "short",
                    ((f"sum by (pool) (stowplan_predictor_queue_length{{{_HERE}}})", "{{pool}}"),),
                ),
                Panel(
                    "Bundles",
                    "Which bundle answers for which runtime.",
                    "short",
                    ((f"max by (runtime, name, version) (stowplan_predictor_bundle_info{{{_HERE}}})", ""),),
                    "table",
                ),
            ),
        ),
        Row(
            "Operator",
            (
                Panel(
                    "Looks",
                    "Looks at services by outcome.",
                    "ops",
                    ((f"sum by (outcome) ({_rate('stowplan_operator_reconciliations_total')})", "{{outcome}}"),),
                ),
                Panel(
                    "Time of a look",
                    "Median and 99th percentile.",
                    "s",
                    (
                        (f"histogram_quantile(0.5, sum by (le) ({_rate('stowplan_operator_reconcile_seconds_bucket')}))", "p50"),
                        (f"histogram_quantile(0.99, sum by (le) ({_rate('stowplan_operator_reconcile_seconds_bucket')}))", "p99"),
                    ),
                ),
                Panel("Waiting services", "Services that wait to be looked at.", "short", ((f"max(stowplan_operator_queue_length{{{_HERE}}})", "waiting"),)),
                Panel("Moves", "Moves between rungs, by kind.", "ops", ((f"sum by (move) ({_rate('stowplan_operator_moves_total')})", "{{move}}"),)),
                Panel(
                    "Writes",
                    "Writes to the API server by kind, and Deployments put right after somebody else had changed them.",
                    "ops",
                    (
                        (f"sum by (kind) ({_rate('stowplan_operator_writes_total')})", "{{kind}}"),
                        (f"sum({_rate('stowplan_operator_reverts_total')})", "put right"),
                    ),
                ),
                Panel(
                    "Trouble with the API server",
                    "Requests that failed by status, warnings of the watches, and deletions that no watch told.",
                    "ops",
                    (
                        (f"sum by (status) ({_rate('stowplan_operator_api_failures_total')})", "{{status}}"),
                        (f"sum by (level) ({_rate('stowplan_operator_watch_troubles_total')})", "watch {{level}}"),
                        (f"sum by (kind) ({_rate('stowplan_operator_missed_deletes_total')})", "missed {{kind}}"),
                    ),
                ),
            ),
        ),
    ),
)


def rendered(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": _place(0, top, _WIDTH, 1)})
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                top, left, tallest = top + tallest, 0, 0
            panels.append(_panel(panel, len(panels) + 1, _place(left, top, panel.width, _HEIGHTS[panel.kind])))
            left, tallest = left + panel.width, max(tallest, _HEIGHTS[panel.kind])
        top += tallest
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["stowplan"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Stowplan", "tags": ["stowplan"], "keepTime": True, "includeVars": True, "asDropdown": False}],
        "templating": {"list": [_datasource(), *(_variable(name, query) for name, query in dashboard.variables)]},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": _DATASOURCE, "expr": expression, "legendFormat": legend, **_form(panel.kind)}
        for index, (expression, legend) in enumerate(panel.queries)
    ]
    options: dict[str, Any] = {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]}} if panel.kind == "timeseries" else {}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": options,
        "targets": targets,
    }


def _form(kind: str) -> dict[str, Any]:
    match kind:
        case "table":
            return {"format": "table", "instant": True}
        case "heatmap":
            return {"format": "heatmap"}
        case "stat":
            return {"instant": True}
        case _:
            return {}


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    shape = {"type": "query", "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".+"}
    return {"name": name, "label": name.capitalize(), "datasource": _DATASOURCE, "query": query, "definition": query, **shape}


def main(root: Path) -> None:
    """Writes every dashboard."""
    (root / _FOLDER).mkdir(parents=True, exist_ok=True)
    for dashboard in (SERVICES, COMPONENTS):
        (root / _FOLDER / f"{dashboard.uid}.json").write_text(json.dumps(rendered(dashboard), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

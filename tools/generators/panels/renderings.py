"""Dashboards as Grafana's JSON: schema version 39 (Grafana 10.3 on)."""

from typing import Any, Final

from panels.shapes import Dashboard, Panel

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
_HEIGHTS: Final = {"stat": 4, "table": 8, "timeseries": 8, "heatmap": 8}


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

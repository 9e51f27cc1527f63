"""Dashboards, alerts and recordings: what they ask for is told by somebody, and every panel says what it shows."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from stowplan_extender.metrics import Metrics as ExtenderMetrics
from stowplan_operator.reconciling.metrics import Metrics as OperatorMetrics
from stowplan_predictor.serving.measures import Measures

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "charts" / "stowplan" / "files"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))
# What servers of models tell, each as its own documentation names it: examples/server; Triton's metrics.md (summaries are an option); OpenVINO Model
# Server's metrics.md; KServe's Python server; Istio's standard metrics.
OF_SERVERS = {
    "model_server_request_duration_seconds_bucket",
    "nv_inference_request_summary_us",
    "ovms_request_time_us_bucket",
    "request_predict_seconds_bucket",
    "istio_request_duration_milliseconds_bucket",
}
# Added by the predictor's server at its start (`serving.servers`).
WATCHED = {"stowplan_predictor_queue_length", "stowplan_predictor_cache_entries", "stowplan_predictor_cache_bytes"}


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((FILES / name).read_text())["groups"] for rule in group["rules"]]


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def told() -> set[str]:
    """Every sample name that our processes and our own recordings tell."""
    families = [family for registry in (ExtenderMetrics().registry, OperatorMetrics().registry, Measures().registry) for family in registry.collect()]
    samples = {f"{family.name}{suffix}" for family in families for suffix in ("", "_total", "_count", "_bucket", "_sum")}
    return samples | WATCHED | {rule["record"] for rule in rules("recordings.yaml")}


def names_in(expression: str) -> set[str]:
    """Metric names of an expression: what stands before a brace or a bracket, or looks like one of ours."""
    without_strings = re.sub(r'"[^"]*"', '""', expression)
    selected = set(re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*[{\[]", without_strings))
    return selected | set(re.findall(r"\bstowplan[_:][a-z0-9_:]+", without_strings))


def test_there_are_dashboards() -> None:
    """One of services and one of components, under fixed names, so that links to them last."""
    assert [json.loads(path.read_text())["uid"] for path in DASHBOARDS] == ["stowplan-components", "stowplan-services"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_of_a_dashboard_exists(path: Path) -> None:
    """Panels and variables ask for what our processes or our recordings tell."""
    known = told()
    for panel in panels(path):
        for target in panel["targets"]:
            assert names_in(target["expr"]), target["expr"]
            assert names_in(target["expr"]) <= known, panel["title"]
    for variable in json.loads(path.read_text())["templating"]["list"]:
        assert variable["type"] == "datasource" or names_in(variable["query"]) <= known


def test_alerts_and_recordings_ask_for_what_somebody_tells() -> None:
    """Alerts rest on our own metrics and recordings, recordings on what the documentation of servers names."""
    for rule in rules("alerts.yaml"):
        assert names_in(rule["expr"]) <= told(), rule["alert"]
    asked = {name for rule in rules("recordings.yaml") for name in names_in(rule["expr"])}
    assert asked == OF_SERVERS


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_says_what_it_shows(path: Path) -> None:
    """The habits that Grafana's dashboard linter asks for: title, description, unit, datasource variable, rates over $__rate_interval, no overlap."""
    dashboard = json.loads(path.read_text())
    assert dashboard["tags"] == ["stowplan"]
    assert next(item["type"] for item in dashboard["templating"]["list"]) == "datasource"
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert place["x"] + place["w"] <= 24
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert set(re.findall(r"\[([^\]]+)\]", target["expr"])) <= {"$__rate_interval"}
            for name in re.findall(r"(?:rate|increase)\(([a-z_]+)", target["expr"]):
                assert name.endswith(("_total", "_count", "_bucket", "_sum")), name


def test_dashboards_are_what_their_generator_makes(tmp_path: Path) -> None:
    """The committed files are not written by hand."""
    subprocess.run([sys.executable, ROOT / "tools" / "generators" / "dashboards.py", tmp_path], check=True)
    for path in DASHBOARDS:
        assert (tmp_path / path.relative_to(ROOT)).read_text() == path.read_text()


def test_every_alert_has_what_a_person_needs() -> None:
    """A severity, a summary, a description and a runbook; no two alerts of one name."""
    found = rules("alerts.yaml")
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}


def expressions() -> list[str]:
    """Every expression of the chart, with Grafana's variables as a panel would fill them in."""
    found = [rule["expr"] for name in ("alerts.yaml", "recordings.yaml") for rule in rules(name)]
    for path in DASHBOARDS:
        for panel in panels(path):
            filled = [target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"]]
            found += [re.sub(r"\$[a-z]+", ".+", expression) for expression in filled]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_is_promql(expression: str) -> None:
    """A parser of Prometheus' language takes it."""
    promql_parser.parse(expression)

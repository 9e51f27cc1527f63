"""Dashboards, alerts and recordings: what they ask for is told by somebody, and every panel says what it shows."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitoring_programs import MonitoringPrograms
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
    """What every panel asks, with Grafana's variables filled in as it would."""
    filled = [target["expr"].replace("$__rate_interval", "5m") for path in DASHBOARDS for panel in panels(path) for target in panel["targets"]]
    return [re.sub(r"\$[a-z]+", ".+", expression) for expression in filled]


@pytest.mark.controlplane
def test_every_expression_is_promql(monitoring_tools: MonitoringPrograms, tmp_path: Path) -> None:
    """Prometheus' own tool takes what panels ask, each as the expression of a rule; what alerts and recordings ask it checks in `test_alerts.py`."""
    asked = expressions()
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run = subprocess.run([monitoring_tools.promtool, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False)
    assert f"SUCCESS: {len(asked)} rules found" in run.stdout, run.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_as_grafanas_linter_wants_it(path: Path) -> None:
    """The rest of its rules: not editable, variables that follow the time range, no panel without a question, counters only as rates, every selector narrowed.

    Left out are those that ask for variables of job and instance: a metric's name says which of our processes tells it.
    """
    dashboard = json.loads(path.read_text())
    assert dashboard["editable"] is False
    source, *variables = dashboard["templating"]["list"]
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")
    for variable in variables:
        assert (variable["refresh"], variable["multi"], variable["includeAll"]) == (2, True, True), variable["name"]
        assert variable["datasource"]["uid"] == "${datasource}"
        assert re.fullmatch(r"label_values\([a-z_]+(\{.*\})?, [a-z]+\)", variable["query"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    narrowed = {f'{variable["name"]}=~"${variable["name"]}"' for variable in variables}
    for panel in panels(path):
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            for name, selector in re.findall(r"\b(stowplan[a-z_:0-9]+)(\{[^}]*\})?", target["expr"]):
                assert not name.endswith("_total") or re.search(rf"(rate|increase)\({name}\b", target["expr"]), panel["title"]
                # What is told of the whole cluster belongs to no namespace.
                assert name.startswith("stowplan_cluster_") or any(condition in selector for condition in narrowed), (panel["title"], name)

"""Alerts and recordings under Prometheus' own tool: `promtool check rules`, and `promtool test rules` with the cases of `alert_cases.yaml`."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane_binaries import Binaries
from monitoring_programs import MonitoringPrograms
from support.components import rendered

pytestmark = pytest.mark.controlplane
CHART = Path(__file__).resolve().parents[2] / "charts" / "stowplan"
# Everything is text there: "0x60" is promtool's notation, and YAML's for 96.
CASES: list[dict[str, Any]] = yaml.load(Path(__file__).with_name("alert_cases.yaml").read_text(), yaml.BaseLoader)  # noqa: S506 -- makes strings only
ALERTS: list[str] = [rule["alert"] for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
Groups = list[dict[str, Any]]


@pytest.fixture(scope="module")
def groups(controlplane_binaries: Binaries) -> Groups:
    """The rules of every PrometheusRule that the chart renders."""
    items = rendered(controlplane_binaries, "monitoring.alerts.enabled=true", "monitoring.recordings.enabled=true")
    rules = [item for item in items if item["kind"] == "PrometheusRule"]
    return [group for item in rules for group in item["spec"]["groups"]]


def promtool(tools: MonitoringPrograms, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tools.promtool, *arguments], capture_output=True, text=True, check=False)


def judged(tools: MonitoringPrograms, groups: Groups, tests: list[dict[str, Any]], folder: Path) -> subprocess.CompletedProcess[str]:
    """What `promtool test rules` says of the tests (of its own format) under these rules."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    (folder / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    return promtool(tools, "test", "rules", folder / "tests.yaml")


def unit_test(case: Mapping[str, Any], groups: Groups) -> dict[str, Any]:
    """A case in promtool's own format; what does not vary of an alert (severity, description, runbook) is taken from its rule."""
    (rule,) = (rule for group in groups for rule in group["rules"] if rule.get("alert") == case["alert"])

    def whole(fired: Mapping[str, Any]) -> dict[str, Any]:
        description = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: fired["labels"][found[1]], rule["annotations"]["description"])
        annotations = rule["annotations"] | {"summary": fired["summary"], "description": description}
        return {"exp_labels": rule["labels"] | fired["labels"], "exp_annotations": annotations}

    moments: dict[str, list[dict[str, Any]]] = {at: [] for at in case["silent"]} | {
        at: [whole(fired) for fired in alerts] for at, alerts in case.get("fires", {}).items()
    }
    return {
        "name": case["about"],
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case["series"].items()],
        "alert_rule_test": [{"eval_time": at, "alertname": case["alert"], "exp_alerts": alerts} for at, alerts in moments.items()],
    }


def test_promtool_finds_nothing_to_complain_about(monitoring_tools: MonitoringPrograms, groups: Groups, tmp_path: Path) -> None:
    """Every rendered rule is well formed, and no rule is there twice."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    run = promtool(monitoring_tools, "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"SUCCESS: {sum(len(group['rules']) for group in groups)} rules found" in run.stdout


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['alert']}: {case['about']}")
def test_an_alert_fires_when_it_should_and_not_before(monitoring_tools: MonitoringPrograms, groups: Groups, tmp_path: Path, case: dict[str, Any]) -> None:
    """At each moment of the case exactly what it lists fires, with those labels and words."""
    run = judged(monitoring_tools, groups, [unit_test(case, groups)], tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("alert", ALERTS)
@pytest.mark.parametrize("broken", ["vector(1) < 0", "vector(1)"], ids=["never", "always"])
def test_every_alert_has_cases_that_notice(monitoring_tools: MonitoringPrograms, groups: Groups, tmp_path: Path, alert: str, broken: str) -> None:
    """An alert that never fires, and one that always does, fail cases of theirs; so no alert is without both."""
    tests = [unit_test(case, groups) for case in CASES if case["alert"] == alert]
    changed = [group | {"rules": [rule | {"expr": broken} if rule.get("alert") == alert else rule for rule in group["rules"]]} for group in groups]
    assert judged(monitoring_tools, changed, tests, tmp_path).returncode != 0


# By what tells it: the series of a pod of service `search-api`, whose 95th percentile is 0.19 s (0.19 = 0.1 + 0.9 * 0.1: half below 0.1, all below 0.2).
OF_A_SERVER = {
    "model-server": ("model_server_request_duration_seconds_bucket", 1.0, {}),
    "openvino": ("ovms_request_time_us_bucket", 1e6, {}),
    "kserve": ("request_predict_seconds_bucket", 1.0, {}),
    "istio": ("istio_request_duration_milliseconds_bucket", 1e3, {"reporter": "destination"}),
}


@pytest.mark.parametrize("source", [*OF_A_SERVER, "triton"])
def test_what_servers_tell_is_brought_to_one_form(monitoring_tools: MonitoringPrograms, groups: Groups, tmp_path: Path, source: str) -> None:
    """Two pods of one service become one percentile in seconds, under the service's own name, whatever unit and form its server has."""
    pods = [f'namespace="shop", pod="search-api-5f6d8b7c9-{name}"' for name in ("abcde", "fghij")]
    if source == "triton":
        series = {
            f'nv_inference_request_summary_us{{{pod}, quantile="{share}"}}': f"{us}x10" for pod in pods for share, us in (("0.95", 190000), ("0.99", 9e6))
        }
    else:
        name, unit, more = OF_A_SERVER[source]
        labels = "".join(f', {key}="{value}"' for key, value in more.items())
        rising = (("0.1", 0.1, 5), ("0.2", 0.2, 10), ("", float("inf"), 10))
        bounds = [(f"{bound * unit:g}" if text else "+Inf", count) for text, bound, count in rising]
        series = {f'{name}{{{pod}, le="{bound}"{labels}}}': f"0+{count}x10" for pod in pods for bound, count in bounds}
        if more:
            # A proxy on the side of who asks tells the same requests again.
            series |= {key.replace("destination", "source"): "0+1000x10" for key in series if 'le="+Inf"' in key}
    test = {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": "round(stowplan:service_observed_p95_seconds, 0.001)",
                "eval_time": "10m",
                "exp_samples": [{"labels": f'{{namespace="shop", service="search-api", source="{source}"}}', "value": 0.19}],
            }
        ],
    }
    run = judged(monitoring_tools, groups, [test], tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr

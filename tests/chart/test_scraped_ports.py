"""The ServiceMonitor's ports: each leads through a Service and a container to where a process with the chart's settings tells its metrics."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from controlplane_binaries import Binaries
from stowplan_extender.settings import ExtenderSettings
from stowplan_fleet import settings
from stowplan_operator.settings import OperatorSettings
from stowplan_predictor.serving.settings import PredictorSettings
from support.components import rendered

pytestmark = pytest.mark.controlplane
COMPONENT = "app.kubernetes.io/component"
Environment = Mapping[str, str]


def of_predictor(environment: Environment) -> tuple[str, int]:
    found = settings.load(PredictorSettings, None, "STOWPLAN_PREDICTOR_", environment)
    return found.metrics.host, found.metrics.port


def of_operator(environment: Environment) -> tuple[str, int]:
    found = settings.load(OperatorSettings, None, "STOWPLAN_OPERATOR_", environment)
    return found.serving.host, found.serving.metrics_port


def of_extender(environment: Environment) -> tuple[str, int]:
    found = settings.load(ExtenderSettings, None, "STOWPLAN_EXTENDER_", environment)
    return found.serving.health_host, found.serving.health_port


# By component: its container, and where that process tells its metrics.
PROCESSES: Mapping[str, tuple[str, Callable[[Environment], tuple[str, int]]]] = {
    "predictor": ("predictor", of_predictor),
    "operator": ("operator", of_operator),
    "scheduler": ("extender", of_extender),
}


def scraped(monitor: Mapping[str, Any], component: str) -> set[str]:
    """The ports of a component's Service that the monitor scrapes: those it names, but for components that an endpoint's relabelling leaves out."""
    kept = set()
    for endpoint in monitor["spec"]["endpoints"]:
        rules = [rule for rule in endpoint.get("relabelings", ()) if rule["action"] == "keep"]
        if all(rule["regex"] == component for rule in rules):
            kept.add(endpoint["port"])
    return kept


@pytest.mark.parametrize("component", PROCESSES)
def test_what_is_scraped_is_where_metrics_are_told(controlplane_binaries: Binaries, component: str) -> None:
    """One port of each component is scraped, and the process behind it listens there on every address of its pod."""
    items = rendered(controlplane_binaries, "monitoring.serviceMonitor.enabled=true")
    (monitor,) = (item for item in items if item["kind"] == "ServiceMonitor")
    (service,) = (item for item in items if item["kind"] == "Service" and item["metadata"]["labels"][COMPONENT] == component)
    (deployment,) = (item for item in items if item["kind"] == "Deployment" and item["metadata"]["labels"][COMPONENT] == component)
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()

    (port,) = (port for port in service["spec"]["ports"] if port["name"] in scraped(monitor, component))
    name, told = PROCESSES[component]
    (container,) = (container for container in deployment["spec"]["template"]["spec"]["containers"] if container["name"] == name)
    (number,) = (found["containerPort"] for found in container["ports"] if found["name"] == port["targetPort"])
    environment = {entry["name"]: str(entry.get("value", "from-the-field")) for entry in container["env"]}
    assert told(environment) == ("0.0.0.0", number)  # noqa: S104 -- a pod's

"""A real Prometheus, configured by the real Prometheus operator from what the chart renders, scrapes our processes while a service is placed."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import monitoring_programs
import pytest
from controlplane_clusters import Cluster
from monitoring_programs import MonitoringPrograms
from stowplan_fleet import keys
from stowplan_fleet.devices import CpuDevice
from support import api_definitions, components, prometheuses
from support.components import SYSTEM_NAMESPACE, Component, Extender, Operator, Predictor
from support.controlplane import apply, node, own_namespace, remove_nodes, wait_until
from support.crews import Crew
from support.prometheuses import Prometheus
from support.stages import Stage, inference_service
from support.wiretaps import Wiretap

pytestmark = pytest.mark.controlplane
DASHBOARDS = sorted((components.CHART / "files" / "dashboards").glob("*.json"))
MONITORED = (
    "monitoring.serviceMonitor.enabled=true",
    "monitoring.serviceMonitor.interval=1s",
    "monitoring.alerts.enabled=true",
    "monitoring.recordings.enabled=true",
)
# What panels ask for and nobody tells here, or nothing has made appear, each with the reason; whatever asks for none of it has to have data.
SILENT = {
    "stowplan:service_observed_p95_seconds": "no model server answers requests here",
    "stowplan_cluster_slices": "there is no GPU",
    "stowplan_extender_degraded_answers_total": "the predictor answered every question",
    "stowplan_extender_wake_ups_total": "no pod was refused",
    "stowplan_operator_api_failures_total": "the API server did what it was asked",
    "stowplan_operator_missed_deletes_total": "nothing was deleted",
    'stowplan_service_condition{status!="True"': "every condition holds",
    "stowplan_operator_watch_troubles_total": "no watch broke",
    **{f"stowplan_{name}_certificate_expiration_timestamp_seconds": "no TLS between the processes of tests" for name in ("predictor", "extender", "operator")},
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What the tests of this file look at."""

    stage: Stage
    prometheus: Prometheus
    address: str
    ports: Mapping[str, int]
    """Where each component tells its metrics."""


def own_address() -> str:
    """An address of this machine that is not loopback: endpoints must not be. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            pytest.skip(f"probe: this machine has no address but loopback, and endpoints may not be loopback ({error})")
        return str(probe.getsockname()[0])


def play_pods(cluster: Cluster, rendered: Sequence[dict[str, Any]], ports: Mapping[str, Mapping[str, int]], address: str, node_name: str) -> Iterator[str]:
    """A pod of each of the chart's Deployments, in name only: its labels and the names of its ports, at our processes' address and ports."""
    for deployment in (item for item in rendered if item["kind"] == "Deployment"):
        template = deployment["spec"]["template"]
        labels = template["metadata"]["labels"]
        mine = ports[labels["app.kubernetes.io/component"]]
        containers = [
            {"name": container["name"], "image": "none", "ports": [{"name": port["name"], "containerPort": mine[port["name"]]} for port in container["ports"]]}
            for container in template["spec"]["containers"]
            if "ports" in container
        ]
        name = f"played-{labels['app.kubernetes.io/component']}"
        # Nobody schedules it: it comes to its node when it runs already, so that kwok gives it no address.
        spec = {"schedulerName": "nobody", "serviceAccountName": template["spec"]["serviceAccountName"], "containers": containers}
        apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}, namespace=SYSTEM_NAMESPACE)
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [{"type": "Ready", "status": "True"}]}
        patch = json.dumps({"status": status})
        cluster.kubectl("patch", "pod", name, "-n", SYSTEM_NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": node_name}}
        cluster.kubectl("create", f"--raw=/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{name}/binding", "-f", "-", stdin=json.dumps(binding))
        yield name


def clear_nodes(crew: Crew) -> None:
    if crew.nodes:
        remove_nodes(crew.cluster, crew.nodes)
        crew.nodes.clear()


@pytest.fixture(scope="module")
def scene(  # noqa: PLR0917 -- fixtures are given by name
    crew: Crew,
    devices: Mapping[str, CpuDevice],
    wiretap: Wiretap,
    predictor: Predictor,
    extender: Extender,
    operator: Operator,
    monitoring_stack: MonitoringPrograms,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """Our processes listen as the chart has them listen, Prometheus scrapes them, and a service is placed and ready."""
    cluster, address = crew.cluster, own_address()
    crew.muster()
    listening: tuple[tuple[Component, str], ...] = ((predictor, "METRICS_HOST"), (extender, "SERVING_HEALTH_HOST"), (operator, "SERVING_HOST"))
    rendered = components.release(cluster, *MONITORED)
    ports = {
        "predictor": {"grpc": predictor.port, "health": predictor.port, "metrics": predictor.metrics_port},
        "operator": {"health": operator.health_port, "metrics": operator.metrics_port},
        "scheduler": {"health": extender.health_port},
    }
    definitions = [monitoring_programs.definition(plural) for plural in prometheuses.KINDS]
    with contextlib.ExitStack() as stack:
        for component, setting in listening:
            stack.enter_context(component.differently(**{setting: "0.0.0.0"}))  # noqa: S104 -- as in a pod
        for definition in definitions:
            stack.callback(cluster.kubectl, "delete", "-f", str(definition), "--ignore-not-found")
            api_definitions.serve(cluster, definition)
        monitored = [item for item in rendered if item["kind"] in {"Service", "ServiceMonitor", "PrometheusRule"}]
        for item in monitored:
            stack.callback(cluster.kubectl, "delete", item["kind"], item["metadata"]["name"], "-n", SYSTEM_NAMESPACE, "--ignore-not-found")
        apply(cluster, *monitored, namespace=SYSTEM_NAMESPACE)
        stack.callback(clear_nodes, crew)
        namespace = stack.enter_context(own_namespace(cluster, crew.prefix))
        stage = Stage(cluster, namespace, wiretap, extender, predictor.port, devices, crew.nodes)
        stage.add_nodes(node("watched", "4", {keys.DEVICE_LABEL: "made-up-quick"}))
        for pod in play_pods(cluster, rendered, ports, address, "watched"):
            stack.callback(cluster.kubectl, "delete", "pod", pod, "-n", SYSTEM_NAMESPACE, "--ignore-not-found", "--force", "--grace-period=0")
        prometheus = stack.enter_context(prometheuses.running(cluster, monitoring_stack, namespace, tmp_path_factory.mktemp("prometheus")))
        wait_until(
            lambda: len(prometheus.query("up == 1")) == len(ports),
            0,
            lambda: f"not all is up: {[target['labels'] | {'health': target['health']} for target in prometheus.targets()]}",
        )
        # Two, one after the other: a rate is of what rose since a counter was first seen.
        for service, model in (("photos", "resnet50"), ("thumbnails", "squeezenet")):
            stage.upload(model)
            stage.apply(inference_service(service, model, 60_000, slice_classes=["made-up-quick/cpu:1"]))
            stage.await_condition(service, "Ready", "True")
            seen = f'stowplan_service_condition{{service="{service}", condition="Ready", status="True"}}'
            wait_until(lambda seen=seen: prometheus.query(seen), 0, f"{service} was never seen ready by Prometheus")  # type: ignore[misc]
        yield Scene(stage, prometheus, address, {name: of["metrics" if "metrics" in of else "health"] for name, of in ports.items()})


def test_prometheus_scrapes_every_process_once(scene: Scene) -> None:
    """Through the chart's ServiceMonitor each process is one target, up, on the port that it listens on, and its component is its job."""
    targets = scene.prometheus.targets()
    found = {(target["labels"]["job"], target["labels"]["instance"], target["health"]) for target in targets}
    assert found == {(component, f"{scene.address}:{port}", "up") for component, port in scene.ports.items()}, targets
    assert len(targets) == len(scene.ports)
    assert {target["labels"]["namespace"] for target in targets} == {SYSTEM_NAMESPACE}


def test_services_keep_their_own_names(scene: Scene) -> None:
    """What the operator tells of a service is found under the service's namespace and name, not under those of the pod that was scraped."""
    where = f'namespace="{scene.stage.namespace}", service="photos"'
    ((labels, objective),) = scene.prometheus.query(f"stowplan_service_objective_seconds{{{where}}}")
    assert (objective, labels["job"]) == (60.0, "operator")
    assert scene.prometheus.query('{__name__=~"stowplan.*", exported_namespace!=""} or {__name__=~"stowplan.*", exported_service!=""}') == []


def test_every_rule_is_evaluated_and_no_alert_is_active(scene: Scene) -> None:
    """Prometheus itself evaluates every rule that the chart renders without an error, and where all is well none of them alarms anybody."""
    rendered = [item for item in components.release(scene.stage.cluster, *MONITORED) if item["kind"] == "PrometheusRule"]
    expected = sorted(rule.get("alert") or rule["record"] for item in rendered for group in item["spec"]["groups"] for rule in group["rules"])

    def known() -> list[dict[str, Any]]:
        rules = scene.prometheus.rules()
        return [] if any(rule["health"] == "unknown" for rule in rules) else rules

    evaluated = wait_until(known, 0, "a rule was never evaluated")
    assert sorted(rule["name"] for rule in evaluated) == expected
    assert [(rule["name"], rule.get("lastError")) for rule in evaluated if rule["health"] != "ok"] == []
    # What was pending while the service was made may take an evaluation to go.
    wait_until(lambda: not scene.prometheus.ask("alerts")["alerts"], 0, lambda: str(scene.prometheus.ask("alerts")))


def questions() -> list[tuple[str, str]]:
    """What the panels of all dashboards ask, each under its dashboard's and panel's name, with Grafana's variables filled in."""
    found = []
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                asked = re.sub(r"\$(namespace|service)\b", ".+", target["expr"].replace("$__rate_interval", "5m"))
                found.append((f"{dashboard['title']}, {panel['title']}", asked))
    return found


def excused(expression: str) -> bool:
    """True where it asks for something that is silent here."""
    return any(asked in expression for asked in SILENT)


def test_every_panel_shows_what_happens(scene: Scene) -> None:
    """Prometheus evaluates what every panel asks; it has data, but for those that ask for something that did not happen here."""

    def without_data() -> list[tuple[str, str]]:
        return [(title, asked) for title, asked in questions() if not scene.prometheus.query(asked) and not excused(asked)]

    # Rates need two scrapes.
    wait_until(lambda: not without_data(), 0, lambda: f"panels without data: {without_data()}")


def test_every_variable_has_values(scene: Scene) -> None:
    """What Grafana asks to fill a dashboard's variables is there: the namespaces of our processes and of services, and the service."""
    values = {}
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"][1:]:
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr]
            values[path.stem, variable["name"]] = scene.prometheus.ask(f"label/{label}/values", **{"match[]": re.sub(r"\$\w+", ".+", selector)})
    assert values == {
        ("stowplan-components", "namespace"): [SYSTEM_NAMESPACE],
        ("stowplan-services", "namespace"): [scene.stage.namespace],
        ("stowplan-services", "service"): ["photos", "thumbnails"],
    }


def test_no_excuse_is_left_over() -> None:
    """What is excused from having data is asked for by some panel."""
    assert [silent for silent in SILENT if not any(silent in asked for _, asked in questions())] == []

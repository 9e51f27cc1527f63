"""The chart: what helm renders, the API server takes; what a value may not be, helm refuses."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster
from controlplane_errors import CommandFailed
from controlplane_parts import scheduler_configuration
from definitions import CERT_MANAGER, PROMETHEUS_OPERATOR
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import ExtenderSettings
from stowplan_fleet import settings
from stowplan_operator.reconciling.metrics import Metrics as OperatorMetrics
from stowplan_operator.settings import OperatorSettings
from stowplan_predictor.serving.measures import Measures
from stowplan_predictor.serving.settings import PredictorSettings
from support import api_definitions
from support.chart_switches import SWITCHES

pytestmark = pytest.mark.controlplane
CHART = Path(__file__).resolve().parents[2] / "charts" / "stowplan"
SYSTEM = "stowplan-system"
# Read only when a test asks for them: they are fetched where the cache has none.
OTHERS = [
    *(partial(PROMETHEUS_OPERATOR.path, plural) for plural in ("servicemonitors", "prometheusrules")),
    *(partial(CERT_MANAGER.path, plural) for plural in ("certificates", "issuers")),
]
Object = dict[str, Any]


def helm(binaries: Binaries, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binaries.path("helm"), *arguments], capture_output=True, text=True, check=False)


def rendered(binaries: Binaries, *arguments: str) -> list[Object]:
    run = helm(binaries, "template", "stowplan", str(CHART), "-n", SYSTEM, *arguments)
    assert run.returncode == 0, run.stderr
    return [item for item in yaml.safe_load_all(run.stdout) if item]


def the(items: list[Object], kind: str, name: str) -> Object:
    return next(item for item in items if (item["kind"], item["metadata"]["name"]) == (kind, name))


def test_helm_finds_nothing_to_complain_about(controlplane_binaries: Binaries) -> None:
    """`helm lint --strict` passes."""
    run = helm(controlplane_binaries, "lint", "--strict", str(CHART))
    assert run.returncode == 0, run.stdout


@pytest.fixture(scope="module")
def system(apiserver: Cluster) -> Iterator[Cluster]:
    """The API server with the release's namespace, the account in it that a controller would make, and the definitions of others' kinds."""
    for definition in OTHERS:
        api_definitions.serve(apiserver, definition())
    apiserver.kubectl("create", "namespace", SYSTEM)
    apiserver.kubectl("-n", SYSTEM, "create", "serviceaccount", "default")
    yield apiserver
    apiserver.kubectl("delete", "namespace", SYSTEM, "--wait=false")
    apiserver.kubectl("delete", *(argument for definition in OTHERS for argument in ("-f", str(definition()))))


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: switches[0] if switches else "defaults")
def test_the_api_server_takes_everything(system: Cluster, switches: tuple[str, ...]) -> None:
    """Every object that the chart renders under every switch is accepted by the real API server, its unknown fields refused."""
    items = rendered(system.binaries, *(argument for switch in switches for argument in ("--set", switch)))
    text = "\n---\n".join(map(json.dumps, items))
    said = system.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-", stdin=text)
    assert len(said.splitlines()) == len(items)


@pytest.mark.parametrize(
    ("kind", "name", "spoiled"),
    [
        ("Certificate", "stowplan-predictor", {"privateKey": {"algorithm": "Caesar"}}),
        ("Issuer", "stowplan-root", {"ca": {}}),
        ("ServiceMonitor", "stowplan", {"endpoints": [{"port": "metrics", "interval": "often"}]}),
        ("PrometheusRule", "stowplan", {"groups": [{"name": "it", "rules": [{"alert": "It"}]}]}),
    ],
)
def test_the_api_server_judges_the_kinds_of_others_too(system: Cluster, kind: str, name: str, spoiled: Object) -> None:
    """What the Prometheus operator or cert-manager would not understand is refused, so the test above says something of their kinds."""
    switches = ("monitoring.serviceMonitor.enabled=true", "monitoring.alerts.enabled=true", "tls.certManager.enabled=true")
    item = the(rendered(system.binaries, *(argument for switch in switches for argument in ("--set", switch))), kind, name)
    with pytest.raises(CommandFailed, match=r"is invalid|Required value|Invalid value"):
        system.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=json.dumps(item | {"spec": item["spec"] | spoiled}))


MEANINGLESS = [
    "bogus=1",
    "scheduler.replicas=0",
    "logLevel=loud",
    "crds.enabled=maybe",
    "images.operator.digest=x",
    "networkPolicy.apiServer.cidrs[0]=anywhere",
    "monitoring.serviceMonitor.interval=often",
    "monitoring.dashboards.enabled=1",
    "operator.prices.x=dear",
    "tls.mode=generated",
    "tls.generated.days=0",
    "tls.generated.days=36500",
    "tls.certManager.duration=often",
    "tls.existingSecrets.predictor=Not_A_Name",
]


@pytest.mark.parametrize("values", MEANINGLESS)
def test_values_that_mean_nothing_are_refused(controlplane_binaries: Binaries, values: str) -> None:
    """A misspelt or impossible value stops the installation instead of being ignored."""
    run = helm(controlplane_binaries, "template", "stowplan", str(CHART), "--set", values)
    assert run.returncode != 0
    assert values.partition("=")[0].rpartition(".")[2].partition("[")[0] in run.stderr


def test_the_scheduler_is_configured_as_in_our_tests(controlplane_binaries: Binaries) -> None:
    """The configuration that the chart installs is the one that the end-to-end tests run, but for leader election and credentials."""
    config = yaml.safe_load(the(rendered(controlplane_binaries), "ConfigMap", "stowplan-scheduler")["data"]["scheduler.yaml"])
    tested = scheduler_configuration("stowplan", Path("unused"), "http://127.0.0.1:8089")
    for varying in ("leaderElection", "clientConnection"):
        tested.pop(varying)
    assert {key: value for key, value in config.items() if key != "leaderElection"} == tested
    assert config["leaderElection"] == {"leaderElect": True, "resourceName": "stowplan-scheduler", "resourceNamespace": SYSTEM}


# Who speaks to the API server; the predictor reads tenants' models, and the test asks others only.
WITH_TOKEN = {"stowplan-operator", "stowplan-scheduler"}


def test_every_container_is_hardened(controlplane_binaries: Binaries) -> None:
    """No container, that of `helm test` included, may gain rights, write to its root or run as root; a token is only where the API server is called."""
    items = rendered(controlplane_binaries)
    pods = {item["metadata"]["name"]: item["spec"].get("template", item)["spec"] for item in items if item["kind"] in ("Deployment", "Pod")}
    accounts = {item["metadata"]["name"]: item for item in items if item["kind"] == "ServiceAccount"}
    assert set(pods) == {"stowplan-predictor", "stowplan-operator", "stowplan-scheduler", "stowplan-test"}
    for name, spec in pods.items():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not [volume for volume in spec.get("volumes", ()) if "hostPath" in volume]
        assert spec.get("automountServiceAccountToken", True) is (name in WITH_TOKEN)
        if name != "stowplan-test":
            assert spec["serviceAccountName"] == name
            assert accounts[name].get("automountServiceAccountToken", True) is (name in WITH_TOKEN)
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            context = container["securityContext"]
            assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"], context["capabilities"]) == (False, True, {"drop": ["ALL"]})
            assert container["resources"]["limits"]["memory"]


def test_policies_let_components_call_only_whom_they_need(controlplane_binaries: Binaries) -> None:
    """The predictor may call nobody; operator and scheduler the predictor, the API server and, to find the predictor's name, DNS. Every pod has its policy."""
    items = rendered(controlplane_binaries)
    policies = {item["metadata"]["name"]: item["spec"] for item in items if item["kind"] == "NetworkPolicy"}
    deployments = [item for item in items if item["kind"] == "Deployment"]
    assert set(policies) == {item["metadata"]["name"] for item in deployments}
    for item in deployments:
        policy = policies[item["metadata"]["name"]]
        assert policy["podSelector"] == item["spec"]["selector"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policies["stowplan-predictor"]["egress"] == []
    # Models outside the cluster are reached by the same addresses and ports, which are open by default.
    for name in WITH_TOKEN:
        peer, dns, api = policies[name]["egress"]
        (to,) = peer["to"]
        assert to["podSelector"]["matchLabels"] == policies["stowplan-predictor"]["podSelector"]["matchLabels"]
        assert peer["ports"] == [{"port": "grpc", "protocol": "TCP"}]
        assert {port["port"] for port in dns["ports"]} == {53}
        assert [list(where) for where in api["to"]] == [["ipBlock"], ["ipBlock"]]
        assert {port["port"] for port in api["ports"]} == {443, 6443}


@pytest.mark.parametrize(("values", "namespace"), [((), SYSTEM), (("--set", "descriptorsNamespace=devices"), "devices")])
def test_the_extender_reads_no_config_map_but_descriptors(controlplane_binaries: Binaries, values: tuple[str, ...], namespace: str) -> None:
    """The scheduler's account may read ConfigMaps in the descriptors' namespace, where the extender lists them, and by our rules nowhere else."""
    items = rendered(controlplane_binaries, *values)

    def reads(role: Object) -> bool:
        return any("configmaps" in rule["resources"] for rule in role["rules"])

    bound = {
        (item["kind"], item["metadata"].get("namespace"), item["roleRef"]["name"])
        for item in items
        if item["kind"].endswith("RoleBinding") and {"stowplan-scheduler"} == {subject["name"] for subject in item["subjects"]}
    }
    reading = {
        (item["kind"], item["metadata"].get("namespace"))
        for item in items
        if item["kind"].endswith("Role") and reads(item) and (f"{item['kind']}Binding", item["metadata"].get("namespace"), item["metadata"]["name"]) in bound
    }
    assert reading == {("Role", namespace)}


def test_every_variable_is_a_setting(controlplane_binaries: Binaries) -> None:
    """The environment that the chart gives each process is one that the process accepts; a renamed setting fails here and not in a cluster."""
    kinds: dict[str, type[Any]] = {"predictor": PredictorSettings, "operator": OperatorSettings, "extender": ExtenderSettings}
    seen = set()
    for item in rendered(controlplane_binaries, "--set", "scheduler.extender.recording.decisions=500"):
        if item["kind"] != "Deployment":
            continue
        for container in item["spec"]["template"]["spec"]["containers"]:
            if container["name"] not in kinds:
                continue
            environment = {entry["name"]: entry.get("value", "from-the-field") for entry in container["env"]}
            effective = settings.load(kinds[container["name"]], None, f"STOWPLAN_{container['name'].upper()}_", environment)
            assert effective.log_level == "info"
            seen.add(container["name"])
    assert seen == set(kinds)


def test_the_api_stays_when_the_chart_goes(controlplane_binaries: Binaries) -> None:
    """The custom resource definition carries helm's keep policy, and is the raw file."""
    found = the(rendered(controlplane_binaries), "CustomResourceDefinition", "inferenceservices.stowplan.dev")
    assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert found == yaml.safe_load((CHART / "files" / "inferenceservices.yaml").read_text())
    assert not [item for item in rendered(controlplane_binaries, "--set", "crds.enabled=false") if item["kind"] == "CustomResourceDefinition"]


def test_the_predictor_may_call_nobody(controlplane_binaries: Binaries) -> None:
    """It parses tenants' models: no egress at all, its port open to the operator, the extenders and `helm test` only; each component has a policy."""
    policies = {item["metadata"]["name"]: item["spec"] for item in rendered(controlplane_binaries) if item["kind"] == "NetworkPolicy"}
    assert set(policies) == {f"stowplan-{name}" for name in ("predictor", "operator", "scheduler")}
    assert policies["stowplan-predictor"]["egress"] == []
    asks = next(rule for rule in policies["stowplan-predictor"]["ingress"] if rule["ports"][0]["port"] == "grpc")
    allowed = {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in asks["from"]}
    assert allowed == {"operator", "scheduler", "test"}
    for spec in policies.values():
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}


def test_alerts_ask_for_metrics_that_exist(controlplane_binaries: Binaries) -> None:
    """Every metric that an alert or the runbooks name is one that our processes tell; every alert names a section of the runbooks that is there."""
    items = rendered(controlplane_binaries, "--set", "monitoring.alerts.enabled=true", "--set", "monitoring.serviceMonitor.enabled=true")
    rules = [rule for group in the(items, "PrometheusRule", "stowplan")["spec"]["groups"] for rule in group["rules"]]
    runbooks = (CHART.parents[1] / "docs" / "runbooks.md").read_text()
    registries = (Metrics().registry, OperatorMetrics().registry, Measures().registry)
    told = {
        sample
        for registry in registries
        for family in registry.collect()
        for sample in (family.name, f"{family.name}_total", f"{family.name}_count", f"{family.name}_bucket")
    }
    asked = {name for text in [runbooks, *(rule["expr"] for rule in rules)] for name in re.findall(r"stowplan_[a-z_]+", text)}
    assert asked <= told
    for rule in rules:
        path, _, section = rule["annotations"]["runbook_url"].partition("#")
        assert path == "docs/runbooks.md"
        assert f"\n## {section}\n" in runbooks
    monitored = {endpoint["port"] for endpoint in the(items, "ServiceMonitor", "stowplan")["spec"]["endpoints"]}
    assert monitored <= {port["name"] for item in items if item["kind"] == "Service" for port in item["spec"]["ports"]}


def test_one_scheduler_survives_a_drain(controlplane_binaries: Binaries) -> None:
    """Two replicas in zones and on nodes of their own where possible, and a budget; with one replica no budget that would block every drain."""
    items = rendered(controlplane_binaries)
    spec = the(items, "Deployment", "stowplan-scheduler")["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["spec"]["affinity"]["podAntiAffinity"]
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "ScheduleAnyway")
    assert spread["labelSelector"] == spec["selector"]
    assert the(items, "PodDisruptionBudget", "stowplan-scheduler")["spec"]["minAvailable"] == 1
    single = rendered(controlplane_binaries, "--set", "scheduler.replicas=1")
    assert not [item for item in single if item["kind"] == "PodDisruptionBudget"]
    several = rendered(controlplane_binaries, "--set", "predictor.replicas=2")
    assert the(several, "Deployment", "stowplan-predictor")["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    assert the(several, "PodDisruptionBudget", "stowplan-predictor")["spec"]["minAvailable"] == 1
    assert the(several, "Service", "stowplan-predictor")["spec"]["clusterIP"] == "None"

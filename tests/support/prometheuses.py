"""A real Prometheus for tests, configured by the real Prometheus operator from the monitors and rules that lie in a cluster.

Debian's Prometheus was built without discovery in Kubernetes; Prometheus' own code for it runs beside as a process (`controlplane/discovery`), and hands on
what it finds, with all labels, in a file.
"""

import base64
import contextlib
import gzip
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monitoring_programs
import yaml
from controlplane_clusters import ADMIN, Cluster, free_ports
from monitoring_programs import MonitoringPrograms
from support.components import answers
from support.controlplane import apply, wait_until

# What the operator watches to make a configuration; each must be served before it starts.
KINDS = ("prometheuses", "servicemonitors", "podmonitors", "probes", "prometheusrules", "scrapeconfigs")
_NAME = "it"
# Where the operator's configuration expects the rules it wrote into ConfigMaps.
_RULES_FOLDER = "/etc/prometheus/rules/"
_VERSION = "v2.42.0"
# What in its pods another program puts in their place.
_VARIABLES = {"$(SHARD)": "0", "$(POD_NAME)": "prometheus-it-0"}


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API.

        Raises:
            AssertionError: it refuses; with what it says.
        """
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 -- our own http URL
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """What an expression has for values now, those that are no numbers left out.

        Raises:
            AssertionError: it cannot be evaluated.
        """
        samples = [(item["metric"], float(item["value"][1])) for item in self.ask("query", query=expression)["result"]]
        return [(labels, value) for labels, value in samples if value == value]  # noqa: PLR0124 -- NaN

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes."""
        found: list[dict[str, Any]] = self.ask("targets", state="active")["activeTargets"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Its rules, each with how its last evaluation went."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]


@contextlib.contextmanager
def running(cluster: Cluster, tools: MonitoringPrograms, namespace: str, folder: Path) -> Iterator[Prometheus]:
    """One that scrapes what the cluster's ServiceMonitors select and evaluates its PrometheusRules, every second."""
    (port,) = free_ports(1)
    (folder / "token").write_text(cluster.tokens[ADMIN])
    operator, discovery = monitoring_programs.operator(), monitoring_programs.discovery()
    cluster.start("prometheus-operator", [operator, "--web.listen-address=127.0.0.1:0", "--log-level=warn"], {"KUBECONFIG": str(cluster.kubeconfig())})
    try:
        apply(cluster, _wanted(cluster, folder / "token"), namespace=namespace)
        configuration = _configuration(cluster, namespace, folder)
        found = _undiscovered(configuration, folder)
        for number, files in enumerate(found):
            cluster.start(f"prometheus-discovery-{number}", [discovery, *files])
        command: list[str | Path] = [
            tools.prometheus,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        cluster.start("prometheus", [*command, "--log.level=warn"])
        cluster.await_ready("prometheus", lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        for name in [name for name in cluster.processes if name.startswith("prometheus")]:
            cluster.stop(name, kill=True)


def _wanted(cluster: Cluster, token: Path) -> dict[str, Any]:
    everything: dict[str, Any] = {f"{kind}{what}Selector": {} for kind in ("serviceMonitor", "rule") for what in ("", "Namespace")}
    server = {"host": cluster.url, "tlsConfig": {"caFile": str(cluster.ca_file)}, "authorization": {"credentialsFile": str(token)}}
    spec = {"version": _VERSION, "replicas": 0, "evaluationInterval": "1s", "serviceDiscoveryRole": "EndpointSlice", "apiserverConfig": server, **everything}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": {"name": _NAME}, "spec": spec}


def _configuration(cluster: Cluster, namespace: str, folder: Path) -> Path:
    """What the operator made, laid into a folder: as in its pods, but for the place of the rules."""

    def written() -> dict[str, Any] | None:
        secrets = cluster.get("secrets", "-n", namespace)["items"]
        content = next((item["data"]["prometheus.yaml.gz"] for item in secrets if item["metadata"]["name"] == f"prometheus-{_NAME}"), None)
        maps = {item["metadata"]["name"]: item.get("data", {}) for item in cluster.get("configmaps", "-n", namespace)["items"]}
        rules = {name: data for name, data in maps.items() if name.startswith(f"prometheus-{_NAME}-rulefiles-")}
        return {"content": content, "rules": rules} if content and any(rules.values()) else None

    found = wait_until(written, 0, lambda: f"no configuration by the Prometheus operator; its log:\n{cluster.log('prometheus-operator').read_text()[-3000:]}")
    for name, files in found["rules"].items():
        (folder / "rules" / name).mkdir(parents=True)
        for file, text in files.items():
            (folder / "rules" / name / file).write_text(text)
    path, text = folder / "prometheus.yaml", gzip.decompress(base64.b64decode(found["content"])).decode()
    for name, value in {_RULES_FOLDER: f"{folder / 'rules'}/", **_VARIABLES}.items():
        text = text.replace(name, value)
    path.write_text(text)
    return path


def _undiscovered(path: Path, folder: Path) -> Sequence[tuple[Path, Path]]:
    """Replaces discovery in Kubernetes by files of targets; answers what `discovery` is given for each: its part of the configuration, and that file."""
    configuration = yaml.safe_load(path.read_text())
    made = []
    for number, scraped in enumerate(configuration["scrape_configs"]):
        (asked,) = scraped.pop("kubernetes_sd_configs")
        files = folder / f"discovery-{number}.yaml", folder / f"targets-{number}.json"
        files[0].write_text(yaml.safe_dump(asked))
        scraped["file_sd_configs"] = [{"files": [str(files[1])], "refresh_interval": "1s"}]
        made.append(files)
    path.write_text(yaml.safe_dump(configuration))
    return made

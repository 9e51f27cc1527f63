"""Our own processes, started as users start them, against a running control plane."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import yaml
from controlplane_clusters import Cluster, free_ports
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from support.controlplane import apply

# The name and namespace of everything of ours in test clusters.
SYSTEM_NAMESPACE = "stowplan-system"
CHART = Path(__file__).resolve().parents[2] / "charts" / "stowplan"
CRD = CHART / "files" / "inferenceservices.yaml"
_ACCOUNT_KINDS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


@dataclass(frozen=True, slots=True)
class Extender:
    """An extender's process, and how to start it again on the same ports."""

    cluster: Cluster
    port: int
    health_port: int
    environment: Mapping[str, str]
    name: str = "extender"

    def start(self, *, wait: bool = True) -> None:
        """Starts it, and waits until it says it is ready."""
        self.cluster.start(self.name, [sys.executable, "-m", "stowplan_extender"], self.environment)
        if wait:
            self.cluster.await_ready(self.name, lambda: answers(f"http://127.0.0.1:{self.health_port}/readyz"))

    def kill(self) -> None:
        """Kills it without a warning."""
        self.cluster.stop(self.name, kill=True)

    @contextlib.contextmanager
    def differently(self, **environment: str) -> Iterator[None]:
        """Runs it with other settings (`API_RELIST_S="3"`) for a while; then as before."""
        self.kill()
        replace(self, environment={**self.environment} | {f"STOWPLAN_EXTENDER_{key}": value for key, value in environment.items()}).start()
        try:
            yield
        finally:
            self.kill()
            self.start()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with those labels."""
        return metric_at(self.health_port, name, **labels)

    def logged(self, text: str) -> bool:
        """True where a line of its log holds the text."""
        return text in self.cluster.log(self.name).read_text(errors="replace")


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator's process, and how to start it again on the same ports."""

    cluster: Cluster
    health_port: int
    metrics_port: int
    environment: Mapping[str, str]
    name: str = "operator"

    def start(self, *, wait: bool = True) -> None:
        """Starts it, and waits until it says it is ready."""
        self.cluster.start(self.name, [sys.executable, "-m", "stowplan_operator"], self.environment)
        if wait:
            self.cluster.await_ready(self.name, lambda: answers(f"http://127.0.0.1:{self.health_port}/readyz"), 60)

    def kill(self) -> None:
        """Kills it without a warning."""
        self.cluster.stop(self.name, kill=True)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with those labels."""
        return metric_at(self.metrics_port, name, **labels)

    def logged(self, text: str) -> bool:
        """True where a line of its log holds the text."""
        return text in self.cluster.log(self.name).read_text(errors="replace")


def metric_at(port: int, name: str, **labels: str) -> float:
    """The sum of the samples of a metric with those labels, as a process on a loopback port tells them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        families = text_string_to_metric_families(response.read().decode())
        wanted = labels.items()
        return sum(sample.value for family in families for sample in family.samples if sample.name == name and wanted <= sample.labels.items())


def start_predictor(cluster: Cluster) -> int:
    """Starts a predictor with the shipped bundle, and waits until it serves; answers its port."""
    port, metrics_port = free_ports(2)
    environment = {"STOWPLAN_PREDICTOR_GRPC_PORT": str(port), "STOWPLAN_PREDICTOR_METRICS_PORT": str(metrics_port)}
    cluster.start("predictor", [sys.executable, "-m", "stowplan_predictor"], environment)
    cluster.await_ready("predictor", lambda: serves(port), 60)
    return port


def start_operator(cluster: Cluster, predictor_port: int, user: str) -> None:
    """Starts an operator, and waits until it says it is ready."""
    operator(cluster, predictor_port, user).start()


def operator(cluster: Cluster, predictor_port: int, user: str, server: str = "", *, name: str = "operator", more: Mapping[str, str] | None = None) -> Operator:
    """An operator that is not started yet; `server`: whom it takes for the API server, in place of the API server itself."""
    health_port, metrics_port = free_ports(2)
    environment = {
        "STOWPLAN_OPERATOR_API_KUBECONFIG": str(_kubeconfig_of(cluster, user, name, server)),
        "STOWPLAN_OPERATOR_API_DESCRIPTORS_NAMESPACE": SYSTEM_NAMESPACE,
        "STOWPLAN_OPERATOR_PREDICTOR_TARGETS": f"127.0.0.1:{predictor_port}",
        "STOWPLAN_OPERATOR_SERVING_HEALTH_PORT": str(health_port),
        "STOWPLAN_OPERATOR_SERVING_METRICS_PORT": str(metrics_port),
    }
    return Operator(cluster, health_port, metrics_port, environment | dict(more or {}), name)


def serves(port: int) -> bool:
    """True where a gRPC server on that port says by the health protocol that it serves."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            found = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
    return bool(found.status == health_pb2.HealthCheckResponse.SERVING)


def extender(cluster: Cluster, predictor_port: int, user: str, server: str = "", *, name: str = "extender", more: Mapping[str, str] | None = None) -> Extender:
    """An extender that is not started yet; `server`: whom it takes for the API server, in place of the API server itself."""
    port, health_port = free_ports(2)
    kubeconfig = _kubeconfig_of(cluster, user, name, server)
    environment = {
        "STOWPLAN_EXTENDER_SERVING_PORT": str(port),
        "STOWPLAN_EXTENDER_SERVING_HEALTH_PORT": str(health_port),
        "STOWPLAN_EXTENDER_API_KUBECONFIG": str(kubeconfig),
        "STOWPLAN_EXTENDER_API_DESCRIPTORS_NAMESPACE": SYSTEM_NAMESPACE,
        "STOWPLAN_EXTENDER_PREDICTOR_TARGETS": f"127.0.0.1:{predictor_port}",
    }
    return Extender(cluster, port, health_port, environment | dict(more or {}), name)


def _kubeconfig_of(cluster: Cluster, user: str, name: str, server: str) -> Path:
    kubeconfig = cluster.kubeconfig(user)
    if server:
        content = json.loads(kubeconfig.read_text())
        content["clusters"][0]["cluster"] = {"server": server}
        kubeconfig = kubeconfig.with_name(f"kubeconfig-of-{name}.json")
        kubeconfig.write_text(json.dumps(content))
    return kubeconfig


def release(cluster: Cluster) -> list[dict[str, Any]]:
    """What the chart would install, as helm renders it with its defaults."""
    arguments = ["template", "stowplan", str(CHART), "--namespace", SYSTEM_NAMESPACE, "--kube-version", "v1.36.3"]
    run = subprocess.run([cluster.binaries.path("helm"), *arguments], capture_output=True, text=True, check=True)
    return [document for document in yaml.safe_load_all(run.stdout) if document]


def install_accounts(cluster: Cluster) -> None:
    """Applies the chart's service accounts and roles, and writes a kubeconfig for each account: our processes may do what the chart lets them, no more."""
    accounts = [document for document in release(cluster) if document["kind"] in _ACCOUNT_KINDS]
    apply(cluster, *accounts)
    for account in (document["metadata"]["name"] for document in accounts if document["kind"] == "ServiceAccount"):
        token = cluster.kubectl("create", "token", account, "-n", SYSTEM_NAMESPACE, "--duration=1h").strip()
        cluster.write_kubeconfig(account, token)


def answers(url: str) -> bool:
    """True where that URL answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 -- our own http URL
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False

"""Our own processes, started as users start them, against a running control plane."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import grpc
import yaml
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster, free_ports
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from support.controlplane import PATIENCE_S, apply

# The name and namespace of everything of ours in test clusters.
SYSTEM_NAMESPACE = "stowplan-system"
CHART = Path(__file__).resolve().parents[2] / "charts" / "stowplan"
CRD = CHART / "files" / "inferenceservices.yaml"
_ACCOUNT_KINDS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


@dataclass(slots=True)
class _Before:
    """What a process had said and counted when a test began."""

    log_bytes: int = 0
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Component:
    """A process of ours with health and metrics, and how to start it again on the same ports."""

    cluster: Cluster
    health_port: int
    metrics_port: int
    environment: Mapping[str, str]
    name: str
    port: int = 0
    """Where it serves beside."""
    _before: _Before = field(default_factory=_Before)

    MODULE: ClassVar[str] = ""

    def start(self, *, wait: bool = True) -> None:
        """Starts it, and waits until it says it is ready."""
        self._before.samples.clear()
        self.cluster.start(self.name, [sys.executable, "-m", self.MODULE], self.environment)
        if wait:
            self.cluster.await_ready(self.name, self.is_ready, PATIENCE_S)

    def is_ready(self) -> bool:
        """True where it says so."""
        return answers(f"http://127.0.0.1:{self.health_port}/readyz")

    def kill(self) -> None:
        """Kills it without a warning."""
        self.cluster.stop(self.name, kill=True)

    @contextlib.contextmanager
    def differently(self, **environment: str) -> Iterator[None]:
        """Runs it with other settings (`API_RELIST_S="3"`) for a while; then as before."""
        prefix = self.MODULE.upper()
        self.kill()
        replace(self, environment={**self.environment} | {f"{prefix}_{key}": value for key, value in environment.items()}).start()
        try:
            yield
        finally:
            self.kill()
            self.start()

    def mark(self) -> None:
        """From now on `risen` and `logged` tell of what comes; a test begins with it."""
        self._before.log_bytes = self.cluster.log(self.name).stat().st_size
        self._before.samples = _samples_at(self.metrics_port)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with those labels."""
        return metric_at(self.metrics_port, name, **labels)

    def risen(self, name: str, **labels: str) -> float:
        """The same, less what it was at the mark; since its start where it was started after that."""
        return self.metric(name, **labels) - _sum(self._before.samples, name, labels)

    def logged(self, text: str) -> bool:
        """True where a line of its log since the mark holds the text."""
        return text in self.log()

    def log(self) -> str:
        """Its log since the mark."""
        return self.cluster.log(self.name).read_bytes()[self._before.log_bytes :].decode(errors="replace")


class Extender(Component):
    """An extender's process; `port` is the scheduler's."""

    __slots__ = ()
    MODULE: ClassVar[str] = "stowplan_extender"


class Operator(Component):
    """An operator's process."""

    __slots__ = ()
    MODULE: ClassVar[str] = "stowplan_operator"


class Predictor(Component):
    """A predictor's process; `port` is that of gRPC."""

    __slots__ = ()
    MODULE: ClassVar[str] = "stowplan_predictor"

    def is_ready(self) -> bool:
        """True where it says so, by the health protocol."""
        return serves(self.port)


def metric_at(port: int, name: str, **labels: str) -> float:
    """The sum of the samples of a metric with those labels, as a process on a loopback port tells them."""
    return _sum(_samples_at(port), name, labels)


def _samples_at(port: int) -> list[Sample]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        return [sample for family in text_string_to_metric_families(response.read().decode()) for sample in family.samples]


def _sum(samples: Iterable[Sample], name: str, labels: Mapping[str, str]) -> float:
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def predictor(cluster: Cluster) -> Predictor:
    """A predictor with the shipped bundle that is not started yet."""
    port, metrics_port = free_ports(2)
    environment = {"STOWPLAN_PREDICTOR_GRPC_PORT": str(port), "STOWPLAN_PREDICTOR_METRICS_PORT": str(metrics_port)}
    return Predictor(cluster, port, metrics_port, environment, "predictor", port)


def start_predictor(cluster: Cluster) -> int:
    """Starts a predictor with the shipped bundle, and waits until it serves; answers its port."""
    found = predictor(cluster)
    found.start()
    return found.port


def start_operator(cluster: Cluster, predictor_port: int, user: str) -> Operator:
    """Starts an operator, and waits until it says it is ready."""
    found = operator(cluster, predictor_port, user)
    found.start()
    return found


def operator(cluster: Cluster, predictor_port: int, user: str, server: str = "", *, name: str = "operator", more: Mapping[str, str] | None = None) -> Operator:
    """An operator that is not started yet; `server`: whom it takes for the API server, in place of the API server itself."""
    health_port, metrics_port = free_ports(2)
    environment = {
        "STOWPLAN_OPERATOR_API_KUBECONFIG": str(kubeconfig_of(cluster, user, name, server)),
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
    kubeconfig = kubeconfig_of(cluster, user, name, server)
    environment = {
        "STOWPLAN_EXTENDER_SERVING_PORT": str(port),
        "STOWPLAN_EXTENDER_SERVING_HEALTH_PORT": str(health_port),
        "STOWPLAN_EXTENDER_API_KUBECONFIG": str(kubeconfig),
        "STOWPLAN_EXTENDER_API_DESCRIPTORS_NAMESPACE": SYSTEM_NAMESPACE,
        "STOWPLAN_EXTENDER_PREDICTOR_TARGETS": f"127.0.0.1:{predictor_port}",
    }
    return Extender(cluster, health_port, health_port, environment | dict(more or {}), name, port)


def kubeconfig_of(cluster: Cluster, user: str, name: str, server: str) -> Path:
    """The kubeconfig of a user for a process of that name, which takes `server` for the API server; empty: the API server itself."""
    kubeconfig = cluster.kubeconfig(user)
    if server:
        content = json.loads(kubeconfig.read_text())
        content["clusters"][0]["cluster"] = {"server": server}
        kubeconfig = kubeconfig.with_name(f"kubeconfig-of-{name}.json")
        kubeconfig.write_text(json.dumps(content))
    return kubeconfig


def release(cluster: Cluster, *values: str) -> list[dict[str, Any]]:
    """What the chart would install, as helm renders it with its defaults, but for some values (`a.b=c`)."""
    return rendered(cluster.binaries, *values)


def rendered(binaries: Binaries, *values: str) -> list[dict[str, Any]]:
    """The same, where no cluster runs."""
    arguments = ["template", "stowplan", str(CHART), "--namespace", SYSTEM_NAMESPACE, "--kube-version", "v1.36.3"]
    arguments += [argument for value in values for argument in ("--set", value)]
    run = subprocess.run([binaries.path("helm"), *arguments], capture_output=True, text=True, check=True)
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

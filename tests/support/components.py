"""Our own processes, started as users start them, against a running control plane."""

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
from controlplane_clusters import ADMIN, Cluster, free_ports
from grpc_health.v1 import health_pb2, health_pb2_grpc

# The name and namespace of everything of ours in test clusters.
SYSTEM_NAMESPACE = "stowplan-system"
CRD = Path(__file__).resolve().parents[2] / "charts" / "stowplan" / "files" / "inferenceservices.yaml"


@dataclass(frozen=True, slots=True)
class Extender:
    """An extender's process, and how to start it again on the same ports."""

    cluster: Cluster
    port: int
    health_port: int
    environment: Mapping[str, str]

    def start(self, *, wait: bool = True) -> None:
        """Starts it, and waits until it says it is ready."""
        self.cluster.start("extender", [sys.executable, "-m", "stowplan_extender"], self.environment)
        if wait:
            self.cluster.await_ready("extender", lambda: answers(f"http://127.0.0.1:{self.health_port}/readyz"), 30)

    def kill(self) -> None:
        """Kills it without a warning."""
        self.cluster.stop("extender", kill=True)


def start_predictor(cluster: Cluster) -> int:
    """Starts a predictor with the shipped bundle, and waits until it serves; answers its port."""
    port, metrics_port = free_ports(2)
    environment = {"STOWPLAN_PREDICTOR_GRPC_PORT": str(port), "STOWPLAN_PREDICTOR_METRICS_PORT": str(metrics_port)}
    cluster.start("predictor", [sys.executable, "-m", "stowplan_predictor"], environment)
    cluster.await_ready("predictor", lambda: serves(port), 60)
    return port


def start_operator(cluster: Cluster, predictor_port: int, user: str = ADMIN) -> None:
    """Starts an operator, and waits until it says it is ready."""
    health_port, metrics_port = free_ports(2)
    environment = {
        "STOWPLAN_OPERATOR_API_KUBECONFIG": str(cluster.kubeconfig(user)),
        "STOWPLAN_OPERATOR_API_DESCRIPTORS_NAMESPACE": SYSTEM_NAMESPACE,
        "STOWPLAN_OPERATOR_PREDICTOR_TARGETS": f"127.0.0.1:{predictor_port}",
        "STOWPLAN_OPERATOR_SERVING_HEALTH_PORT": str(health_port),
        "STOWPLAN_OPERATOR_SERVING_METRICS_PORT": str(metrics_port),
    }
    cluster.start("operator", [sys.executable, "-m", "stowplan_operator"], environment)
    cluster.await_ready("operator", lambda: answers(f"http://127.0.0.1:{health_port}/readyz"), 60)


def serves(port: int) -> bool:
    """True where a gRPC server on that port says by the health protocol that it serves."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            found = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
    return bool(found.status == health_pb2.HealthCheckResponse.SERVING)


def extender(cluster: Cluster, predictor_port: int, user: str = ADMIN) -> Extender:
    """An extender that is not started yet."""
    port, health_port = free_ports(2)
    environment = {
        "STOWPLAN_EXTENDER_SERVING_PORT": str(port),
        "STOWPLAN_EXTENDER_SERVING_HEALTH_PORT": str(health_port),
        "STOWPLAN_EXTENDER_API_KUBECONFIG": str(cluster.kubeconfig(user)),
        "STOWPLAN_EXTENDER_API_DESCRIPTORS_NAMESPACE": SYSTEM_NAMESPACE,
        "STOWPLAN_EXTENDER_PREDICTOR_TARGETS": f"127.0.0.1:{predictor_port}",
    }
    return Extender(cluster, port, health_port, environment)


def answers(url: str) -> bool:
    """True where that URL answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 -- our own http URL
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False

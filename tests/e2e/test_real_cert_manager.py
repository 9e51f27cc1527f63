"""The chart with cert-manager's own controller: certificates are issued into the Secrets that its pods mount, and its processes accept each other with them."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import controlplane_parts as parts
import pytest
from controlplane_binaries import Binaries
from controlplane_clusters import Cluster, free_ports
from cryptography import x509
from definitions import CERT_MANAGER
from stowplan_extender.settings import ExtenderSettings
from stowplan_fleet import channels, settings
from stowplan_fleet.channels import ClientTls
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.errors import PredictorUnavailable
from stowplan_operator.settings import OperatorSettings
from support import api_definitions
from support.components import CHART, SYSTEM_NAMESPACE, metric_at, serves
from support.controlplane import apply, wait_until
from support.secret_volumes import SecretVolume

pytestmark = pytest.mark.controlplane
MOUNTED = "/etc/stowplan/tls"
COMPONENTS = ("predictor", "operator", "scheduler")
# What cert-manager watches.
KINDS = ("certificates", "certificaterequests", "issuers", "clusterissuers")
CLIENTS: Mapping[str, type[Any]] = {"operator": OperatorSettings, "extender": ExtenderSettings}
DIALLED = f"stowplan-predictor.{SYSTEM_NAMESPACE}.svc"


@dataclass(slots=True)
class Release:
    """An installed release, its Secrets as kubelets would mount them, and its predictor as a process."""

    cluster: Cluster
    folder: Path
    containers: dict[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    """By container of a Deployment: the Secret it mounts, and its environment."""
    volumes: dict[str, SecretVolume] = field(default_factory=dict)
    """By Secret."""
    port: int = 0
    metrics_port: int = 0

    def helm(self, *arguments: str) -> None:
        """Runs helm on the cluster."""
        command = [str(self.cluster.binaries.path("helm")), "--kubeconfig", str(self.cluster.kubeconfig()), *arguments, "-n", SYSTEM_NAMESPACE]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    def look(self) -> None:
        """Reads from the API server what its pods would mount and be told."""
        for item in self.cluster.get("deployments", "-n", SYSTEM_NAMESPACE)["items"]:
            spec = item["spec"]["template"]["spec"]
            secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
            for container in spec["containers"]:
                mounted = [secrets[mount["name"]] for mount in container.get("volumeMounts", ()) if mount["mountPath"] == MOUNTED]
                if mounted:
                    environment = {entry["name"]: entry.get("value", "from-the-field") for entry in container["env"]}
                    self.containers[container["name"]] = (mounted[0], environment)

    def secret(self, name: str) -> dict[str, bytes] | None:
        """What a Secret holds; None where it is not there."""
        found = self.cluster.kubectl("-n", SYSTEM_NAMESPACE, "get", "secret", name, "--ignore-not-found", "-o", "json")
        return {key: base64.b64decode(value) for key, value in json.loads(found)["data"].items()} if found else None

    def mount(self) -> None:
        """What the Secrets hold now reaches the files of every container."""
        for name in {secret for secret, _ in self.containers.values()}:
            data = wait_until(partial(self.secret, name), 30, self.said)
            if name not in self.volumes:
                self.volumes[name] = SecretVolume(self.folder / name)
            self.volumes[name].write(data["tls.crt"], data["tls.key"], data["ca.crt"])

    def said(self) -> str:
        """The end of cert-manager's log, and what it thinks of the certificates."""
        conditions = self.cluster.kubectl("-n", SYSTEM_NAMESPACE, "get", "certificates,issuers,certificaterequests", "-o", "wide")
        return self.cluster.log("cert-manager").read_text()[-2000:] + conditions

    def environment(self, container: str) -> dict[str, str]:
        """A container's environment, with the folder of its Secret in place of where a kubelet mounts it."""
        secret, environment = self.containers[container]
        return {key: value.replace(MOUNTED, str(self.volumes[secret].folder)) for key, value in environment.items()}

    def start_predictor(self) -> None:
        """Starts the predictor with the environment of its container, but for addresses: here it is not alone on its machine."""
        self.port, health_port, self.metrics_port = free_ports(3)
        addresses = {"GRPC_HOST": "127.0.0.1", "HEALTH_HOST": "127.0.0.1", "METRICS_HOST": "127.0.0.1"}
        ports = {"GRPC_PORT": self.port, "HEALTH_PORT": health_port, "METRICS_PORT": self.metrics_port}
        more = {f"STOWPLAN_PREDICTOR_{key}": str(value) for key, value in {**addresses, **ports}.items()}
        self.cluster.start("predictor", [sys.executable, "-m", "stowplan_predictor"], self.environment("predictor") | more)
        self.cluster.await_ready("predictor", lambda: serves(health_port))

    async def asks(self, tls: ClientTls) -> str:
        """The name of the bundle of CPUs, as the predictor tells it to such a client."""
        here = f"127.0.0.1:{self.port}"
        async with GrpcPredictor(here, 10.0, channels.identity(tls), {here: DIALLED}) as predictor:
            return (await predictor.describe("onnxruntime-cpu")).name

    async def asks_as(self, container: str) -> str:
        """The same as one of the release's own clients, with the settings that its container would have."""
        found = settings.load(CLIENTS[container], None, f"STOWPLAN_{container.upper()}_", self.environment(container))
        assert [target.removeprefix("dns:///").rpartition(":")[0] for target in found.predictor.targets] == [DIALLED]
        return await self.asks(found.predictor.tls)


@pytest.fixture(scope="module")
def issuing_cluster(cert_manager: Path, controlplane_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server of its own with cert-manager's definitions and its controller."""
    cluster = Cluster(controlplane_binaries, tmp_path_factory.mktemp("issuing"))
    try:
        parts.start_apiserver(cluster)
        for plural in KINDS:
            api_definitions.serve(cluster, CERT_MANAGER.path(plural))
        for namespace in (SYSTEM_NAMESPACE, "cert-manager"):
            cluster.kubectl("create", "namespace", namespace)
        cluster.start("cert-manager", [cert_manager, cluster.kubeconfig()])
        yield cluster
    finally:
        cluster.stop_all()


@pytest.fixture
def release(issuing_cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Release]:
    """The chart installed with certificates by cert-manager, and its predictor started with them."""
    found = Release(issuing_cluster, tmp_path)
    found.helm("install", "stowplan", str(CHART), "--set", "tls.certManager.enabled=true", *getattr(request, "param", ()))
    try:
        found.look()
        found.mount()
        found.start_predictor()
        yield found
    finally:
        issuing_cluster.stop("predictor")
        found.helm("uninstall", "stowplan")
        # Nobody collects here what belonged to the certificates.
        issuing_cluster.kubectl("-n", SYSTEM_NAMESPACE, "delete", "certificaterequests,secrets", "--all")


def leaf(data: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(data)


async def test_components_accept_each_other_with_what_cert_manager_issues(release: Release) -> None:
    """Every certificate is Ready; predictor and both clients, with the chart's settings and those Secrets, understand each other; nobody else does."""
    certificates = release.cluster.get("certificates", "-n", SYSTEM_NAMESPACE)["items"]
    ready = {item["metadata"]["name"] for item in certificates for said in item["status"]["conditions"] if (said["type"], said["status"]) == ("Ready", "True")}
    assert ready == {f"stowplan-{name}" for name in ("authority", *COMPONENTS)}
    assert set(release.containers) == {"predictor", "operator", "extender"}

    assert await release.asks_as("operator")
    assert await release.asks_as("extender")

    volume = release.volumes[release.containers["operator"][0]]
    with pytest.raises(PredictorUnavailable):
        await release.asks(ClientTls(volume.authorities))
    # The predictor's own certificate is good for a server only.
    with pytest.raises(PredictorUnavailable):
        await release.asks(release.volumes[release.containers["predictor"][0]].client())


async def test_what_cert_manager_issues_anew_is_taken_up_without_a_restart(release: Release) -> None:
    """Secrets that are deleted come back, signed by the same authority with other keys; the running predictor shows the new one and takes the new client."""
    before = {name: release.secret(name) for name in release.volumes}
    expires_s = metric_at(release.metrics_port, "stowplan_predictor_certificate_expiration_timestamp_seconds")
    release.cluster.kubectl("-n", SYSTEM_NAMESPACE, "delete", "secret", *before)
    release.mount()
    for name, former in before.items():
        now = release.secret(name)
        assert now is not None
        assert former is not None
        assert now["ca.crt"] == former["ca.crt"]
        assert now["tls.key"] != former["tls.key"]
        leaf(now["tls.crt"]).verify_directly_issued_by(leaf(now["ca.crt"]))
    wait_until(
        lambda: metric_at(release.metrics_port, "stowplan_predictor_certificate_expiration_timestamp_seconds") > expires_s,
        10,
        "the predictor did not take up its new certificate",
    )
    assert release.cluster.running("predictor")
    assert await release.asks_as("operator")


COMPANY = [
    {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "root"}, "spec": {"selfSigned": {}}},
    {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": "company", "namespace": "cert-manager"},
        "spec": {"isCA": True, "commonName": "company", "secretName": "company", "issuerRef": {"name": "root", "kind": "ClusterIssuer"}},
    },
    {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "company"}, "spec": {"ca": {"secretName": "company"}}},
]
COLLEAGUE = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Certificate",
    "metadata": {"name": "colleague", "namespace": SYSTEM_NAMESPACE},
    "spec": {"dnsNames": ["wiki.intranet.svc"], "secretName": "colleague", "issuerRef": {"name": "company", "kind": "ClusterIssuer"}},
}
BY_COMPANY = ("--set", "tls.certManager.issuerRef.name=company", "--set", "tls.certManager.issuerRef.kind=ClusterIssuer")


@pytest.fixture
def company(issuing_cluster: Cluster) -> None:
    """An issuer that signs for others, too."""
    apply(issuing_cluster, *COMPANY)


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("release", [BY_COMPANY], indirect=True, ids=["a-company's"])
async def test_of_a_shared_issuer_only_our_names_are_answered(release: Release) -> None:
    """Certificates come from the issuer that is named; a colleague's, from the same one, is believed and not answered."""
    assert await release.asks_as("operator")
    assert await release.asks_as("extender")
    apply(release.cluster, COLLEAGUE)
    data = wait_until(lambda: release.secret("colleague"), 30, release.said)
    volume = SecretVolume(release.folder / "colleague")
    volume.write(data["tls.crt"], data["tls.key"], data["ca.crt"])
    with pytest.raises(PredictorUnavailable):
        await release.asks(volume.client())

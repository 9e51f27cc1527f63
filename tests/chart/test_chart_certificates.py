"""Certificates of the chart: where they come from, whose names they hold, and that real processes accept each other with them."""

import base64
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from controlplane_binaries import Binaries
from cryptography import x509
from stowplan_extender.settings import ExtenderSettings
from stowplan_fleet import channels, settings
from stowplan_fleet.clients import GrpcPredictor
from stowplan_operator.settings import OperatorSettings
from stowplan_predictor.serving.servers import PredictorServer
from stowplan_predictor.serving.settings import PredictorSettings
from support.answering import ToldPipeline, told

pytestmark = pytest.mark.controlplane
CHART = Path(__file__).resolve().parents[2] / "charts" / "stowplan"
SYSTEM = "stowplan-system"
MOUNTED = "/etc/stowplan/tls"
COMPONENTS = ("predictor", "operator", "scheduler")
CERT_MANAGER = ("--set", "tls.certManager.enabled=true")
Object = dict[str, Any]
S = TypeVar("S")


def template(binaries: Binaries, *arguments: str, release: str = "stowplan") -> subprocess.CompletedProcess[str]:
    command = [str(binaries.path("helm")), "template", release, str(CHART), "-n", SYSTEM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rendered(binaries: Binaries, *arguments: str, release: str = "stowplan") -> list[Object]:
    run = template(binaries, *arguments, release=release)
    assert run.returncode == 0, run.stderr
    return [item for item in yaml.safe_load_all(run.stdout) if item]


def named(items: list[Object], kind: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item for item in items if item["kind"] == kind}


def mounts(items: list[Object]) -> dict[str, tuple[str, Object]]:
    """By container: the Secret that is mounted where its settings look, and the container."""
    found = {}
    for item in [*named(items, "Deployment").values(), *named(items, "Pod").values()]:
        spec = item["spec"].get("template", item)["spec"]
        secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume} if "volumes" in spec else {}
        for container in spec["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["mountPath"] == MOUNTED:
                    assert mount["readOnly"] is True
                    found[container["name"]] = secrets[mount["name"]], container
    return found


def effective(kind: type[S], container: Object, folder: Path, **more: str) -> S:
    """The settings of a container, with another folder in place of the one where its Secret is mounted."""
    environment: Mapping[str, str] = {entry["name"]: entry.get("value", "from-the-field").replace(MOUNTED, str(folder)) for entry in container["env"]}
    prefix = f"STOWPLAN_{container['name'].upper()}_"
    return settings.load(kind, None, prefix, {**environment, **{prefix + key: value for key, value in more.items()}})


async def test_processes_accept_each_other_with_the_certificates_that_helm_makes(controlplane_binaries: Binaries, tmp_path: Path) -> None:
    """Server and both clients with the environment and the Secrets of the chart: an answer by the name that clients dial; a stranger gets none."""
    items = rendered(controlplane_binaries, "--set", "scheduler.replicas=1")
    for name, secret in named(items, "Secret").items():
        (tmp_path / name).mkdir()
        for key, value in secret["data"].items():
            (tmp_path / name / key).write_bytes(base64.b64decode(value))
    found = {container: (tmp_path / secret, definition) for container, (secret, definition) in mounts(items).items()}
    assert set(found) == {"predictor", "operator", "extender", "test"}

    folder, container = found["predictor"]
    local = {"GRPC_HOST": "127.0.0.1", "GRPC_PORT": "0", "HEALTH_HOST": "127.0.0.1", "HEALTH_PORT": "0"}
    server = PredictorServer(effective(PredictorSettings, container, folder, **local))
    await server.start()
    await server.open(told(ToldPipeline()))
    try:
        for kind, name in ((OperatorSettings, "operator"), (ExtenderSettings, "extender")):
            folder, container = found[name]
            asking: Any = effective(kind, container, folder)
            (dialled,) = asking.predictor.targets
            here = f"127.0.0.1:{server.port}"
            host = dialled.removeprefix("dns:///").rpartition(":")[0]
            async with GrpcPredictor(here, 10.0, channels.identity(asking.predictor.tls), {here: host}) as predictor:
                assert (await predictor.describe()).name == "told"
    finally:
        await server.stop(0, 0)


def test_what_is_rendered_without_a_cluster_says_that_it_is_new_each_time(controlplane_binaries: Binaries) -> None:
    """Two renderings differ, and each says so where a reader of the file sees it; one with certificates from elsewhere has nothing to say."""
    first, second = (template(controlplane_binaries).stdout for _ in range(2))
    assert first != second
    assert "# RENDERED WITHOUT A CLUSTER" in first
    elsewhere = [template(controlplane_binaries, *CERT_MANAGER).stdout for _ in range(2)]
    assert elsewhere[0] == elsewhere[1]
    assert "RENDERED WITHOUT" not in elsewhere[0]


def test_only_the_authority_can_sign_and_nobody_mounts_it(controlplane_binaries: Binaries) -> None:
    """Its key is in a Secret that no pod sees; the certificates hold the names of their components and cannot sign others."""
    items = rendered(controlplane_binaries, release="prod")
    secrets = named(items, "Secret")
    assert set(secrets) == {f"prod-stowplan-{name}-tls" for name in ("authority", *COMPONENTS)}
    assert {secret for secret, _ in mounts(items).values()} == {f"prod-stowplan-{name}-tls" for name in COMPONENTS}
    signer = x509.load_pem_x509_certificate(base64.b64decode(secrets["prod-stowplan-authority-tls"]["data"]["ca.crt"]))
    for component in COMPONENTS:
        data = secrets[f"prod-stowplan-{component}-tls"]["data"]
        certificate = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        certificate.verify_directly_issued_by(signer)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        assert names[0] == f"prod-stowplan-{component}.{SYSTEM}.svc"
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
        assert "ca.key" not in data


def test_clients_dial_a_name_that_the_certificate_holds(controlplane_binaries: Binaries) -> None:
    """With certificates by cert-manager as with those by Helm."""
    items = rendered(controlplane_binaries, *CERT_MANAGER, release="prod")
    _, container = mounts(items)["extender"]
    target = next(entry["value"] for entry in container["env"] if entry["name"] == "STOWPLAN_EXTENDER_PREDICTOR_TARGETS")
    certificates = named(items, "Certificate")
    assert target == f"dns:///{certificates['prod-stowplan-predictor']['spec']['dnsNames'][0]}:50051"
    assert {secret for secret, _ in mounts(items).values()} == {certificates[f"prod-stowplan-{name}"]["spec"]["secretName"] for name in COMPONENTS}
    assert certificates["prod-stowplan-predictor"]["spec"]["usages"] == ["digital signature", "server auth"]
    assert not named(items, "Secret")


def test_a_named_issuer_signs_and_no_authority_is_made(controlplane_binaries: Binaries) -> None:
    """Every certificate refers to it; the release makes no issuer of its own."""
    items = rendered(
        controlplane_binaries, *CERT_MANAGER, "--set", "tls.certManager.issuerRef.name=company", "--set", "tls.certManager.issuerRef.kind=ClusterIssuer"
    )
    assert not named(items, "Issuer")
    references = [item["spec"]["issuerRef"] for item in named(items, "Certificate").values()]
    assert references == [{"name": "company", "kind": "ClusterIssuer", "group": "cert-manager.io"}] * 3


def test_own_secrets_are_mounted_as_they_are_named(controlplane_binaries: Binaries) -> None:
    """Nothing is made beside them."""
    names = {"predictor": "ours", "operator": "theirs", "scheduler": "others"}
    items = rendered(controlplane_binaries, *(argument for key, value in names.items() for argument in ("--set", f"tls.existingSecrets.{key}={value}")))
    found = {container: secret for container, (secret, _) in mounts(items).items()}
    assert found == {"predictor": "ours", "operator": "theirs", "extender": "others", "test": "theirs"}
    assert not named(items, "Secret")


def test_without_tls_nothing_is_made_or_mounted(controlplane_binaries: Binaries) -> None:
    """No Secret, no volume, no setting; health is told on the same port as with TLS."""
    items = rendered(controlplane_binaries, "--set", "tls.enabled=false")
    assert not named(items, "Secret")
    assert not mounts(items)
    assert "_TLS_" not in str(items)


@pytest.mark.parametrize("switch", ["tls.enabled=true", "tls.enabled=false"])
def test_kubelets_ask_the_port_without_tls(controlplane_binaries: Binaries, switch: str) -> None:
    """Both probes of the predictor go to the port that its settings keep for health."""
    items = rendered(controlplane_binaries, "--set", switch)
    (container,) = named(items, "Deployment")["stowplan-predictor"]["spec"]["template"]["spec"]["containers"]
    port = next(int(entry["value"]) for entry in container["env"] if entry["name"] == "STOWPLAN_PREDICTOR_HEALTH_PORT")
    assert {container[probe]["grpc"]["port"] for probe in ("startupProbe", "readinessProbe")} == {port}
    assert {"name": "health", "containerPort": port} in container["ports"]


CONTRADICTIONS = [
    (("tls.enabled=false", "tls.certManager.enabled=true"), "tls.enabled is false, but"),
    (("tls.enabled=false", "tls.existingSecrets.predictor=ours"), "tls.enabled is false, but"),
    (("tls.existingSecrets.predictor=ours", "tls.certManager.enabled=true"), "exclude each other"),
    (("tls.existingSecrets.predictor=ours", "tls.existingSecrets.operator=ours"), "tls.existingSecrets.scheduler is empty"),
    (("tls.certManager.issuerRef.name=company",), "tls.certManager.enabled is false: nobody would ask it"),
]


@pytest.mark.parametrize(("values", "reason"), CONTRADICTIONS, ids=lambda found: found[0] if isinstance(found, tuple) else "")
def test_values_that_contradict_each_other_are_refused_with_the_reason(controlplane_binaries: Binaries, values: tuple[str, ...], reason: str) -> None:
    """Nothing is rendered that would be less secure than somebody believes."""
    run = template(controlplane_binaries, *(argument for value in values for argument in ("--set", value)))
    assert run.returncode != 0
    assert reason in run.stderr

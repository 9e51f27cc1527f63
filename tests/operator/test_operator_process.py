"""The operator as a process with the chart's own rights, against the real API server."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
import yaml
from controlplane_clusters import Cluster, free_ports
from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import DeviceName
from support import api_definitions, lawful_predictors
from support.components import answers
from support.controlplane import apply, condition_of, events_of, own_namespace, wait_until
from support.secret_volumes import SecretVolume

pytestmark = pytest.mark.controlplane
ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "stowplan-operator-test"
USER = "operator-under-test"
DEVICE = "made-up-for-operator"
FIELD = "metadata.annotations['stowplan.dev/slice']"


def operator_objects(cluster: Cluster) -> list[dict[str, Any]]:
    """The operator's account and rights, as the chart renders them."""
    command = [str(cluster.binaries.path("helm")), "template", "stowplan", str(ROOT / "charts" / "stowplan"), "-n", SYSTEM, "-s", "templates/operator.yaml"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [item for item in yaml.safe_load_all(text) if item and item["kind"] != "Deployment"]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[SecretVolume, grpc.ServerCredentials]:
    """The operator's Secret, and a predictor that answers those of its authority only."""
    ca = trustme.CA()
    volume = SecretVolume(tmp_path_factory.mktemp("operator") / "secret")
    volume.put(ca.issue_cert("operator.test"), ca)
    server = ca.issue_cert("127.0.0.1")
    pair = (server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())
    return volume, grpc.ssl_server_credentials([pair], ca.cert_pem.bytes(), require_client_auth=True)


@pytest.fixture(scope="module")
def health_port(apiserver: Cluster, tls: tuple[SecretVolume, grpc.ServerCredentials]) -> Iterator[int]:
    """An operator that runs, beside one node of a made-up device; what it asks the predictor is encrypted."""
    volume, credentials = tls
    device = CpuDevice(DeviceName(DEVICE), "made up", ("avx2",), 4, 1 << 15, 1 << 20, 1 << 25, (CoreThroughput(1, 1e11, 1e10),), {}, fabricated=True)
    api_definitions.serve(apiserver)
    described = {"name": "devices", "namespace": SYSTEM, "labels": {keys.DESCRIPTORS_LABEL: "true"}}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": described, "data": {f"{DEVICE}.json": descriptors.write_device(device).decode()}}
    apply(apiserver, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}, config_map, *operator_objects(apiserver))
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "operator-node", "labels": {keys.DEVICE_LABEL: DEVICE}}}
    apply(apiserver, node)
    status = {"allocatable": {"cpu": "4", "memory": "8Gi"}, "conditions": [{"type": "Ready", "status": "True"}]}
    apiserver.kubectl("patch", "node/operator-node", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    # Without a kubelet behind it the API server has tainted the node.
    apiserver.kubectl("patch", "node/operator-node", "--type=merge", "-p", '{"spec":{"taints":null}}')
    token = apiserver.kubectl("create", "token", "stowplan-operator", "-n", SYSTEM).strip()
    predictor, health, metrics = free_ports(3)
    environment = {
        "STOWPLAN_OPERATOR_API_KUBECONFIG": str(apiserver.write_kubeconfig(USER, token)),
        "STOWPLAN_OPERATOR_API_DESCRIPTORS_NAMESPACE": SYSTEM,
        "STOWPLAN_OPERATOR_PREDICTOR_TARGETS": f"127.0.0.1:{predictor}",
        "STOWPLAN_OPERATOR_PREDICTOR_TLS_CA_FILE": volume.authorities,
        "STOWPLAN_OPERATOR_PREDICTOR_TLS_CERTIFICATE_FILE": volume.certificate,
        "STOWPLAN_OPERATOR_PREDICTOR_TLS_KEY_FILE": volume.key,
        "STOWPLAN_OPERATOR_SERVING_HEALTH_PORT": str(health),
        "STOWPLAN_OPERATOR_SERVING_METRICS_PORT": str(metrics),
    }
    with lawful_predictors.serve(predictor, credentials):
        apiserver.start("operator-under-test", [sys.executable, "-m", "stowplan_operator"], environment)
        try:
            apiserver.await_ready("operator-under-test", lambda: answers(f"http://127.0.0.1:{health}/readyz"), 60)
            assert answers(f"http://127.0.0.1:{metrics}/metrics")
            yield health
        finally:
            apiserver.stop("operator-under-test")
            apiserver.kubectl("delete", "node/operator-node")


def service(name: str, model: str, **spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "server", "image": "localhost/server:1", "resources": {"limits": {"memory": "1Gi"}}}]}}
    body = {"model": {"uri": f"configmap://{model}/model.onnx"}, "slo": {"latencyMilliseconds": 60_000}, "load": {"requestsPerSecond": 1}, "template": template}
    return {"apiVersion": "stowplan.dev/v1alpha1", "kind": "InferenceService", "metadata": {"name": name}, "spec": body | spec}


def graph(name: str, content: bytes) -> dict[str, Any]:
    binary = {"model.onnx": base64.b64encode(content).decode()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": binary}


def test_a_service_gets_its_workload_and_nothing_sticks_to_it(apiserver: Cluster, health_port: int) -> None:
    """From an applied service to its Deployment: status, events, rights as the chart gives them; no finalizer and no annotation on the service.

    A broken model beside it stands in its own condition, and a model that comes late is found when it comes.
    """
    del health_port
    squeezenet = (ROOT / "examples" / "models" / "squeezenet.onnx").read_bytes()
    with own_namespace(apiserver, "operated") as namespace:
        apiserver.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(graph("broken", b"\xff\x01 no model")))
        apply(apiserver, service("bad", "broken"), service("good", "late"), namespace=namespace)

        def condition(name: str, kind: str, status: str, reason: str) -> bool:
            found = condition_of(apiserver.get(f"stow/{name}", "-n", namespace), kind) or {}
            return (found.get("status"), found.get("reason")) == (status, reason)

        wait_until(lambda: condition("bad", "ModelAnalyzed", "False", "ModelRefused"), 20, "the broken model is not told")
        wait_until(lambda: condition("good", "ModelAnalyzed", "False", "ModelNotFound"), 20, "the missing model is not told")
        apiserver.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(graph("late", squeezenet)))
        wait_until(lambda: condition("good", "Placeable", "True", "RungChosen"), 20, lambda: apiserver.kubectl("get", "stow", "-n", namespace, "-o", "yaml"))
        wait_until(lambda: "good" in apiserver.kubectl("get", "deployments", "-n", namespace, "-o", "name"), 10, "no Deployment")

        stored = apiserver.get("stow/good", "-n", namespace)
        deployment = apiserver.get("deployment/good", "-n", namespace)
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        assert stored["status"]["sliceClass"] == f"{DEVICE}/cpu:1"
        assert "finalizers" not in stored["metadata"]
        assert set(stored["metadata"].get("annotations", {})) <= {"kubectl.kubernetes.io/last-applied-configuration"}
        assert deployment["metadata"]["ownerReferences"][0]["uid"] == stored["metadata"]["uid"]
        assert container["resources"]["limits"] == {"cpu": "1", "memory": "1Gi", keys.MARKER_RESOURCE: keys.MARKER_AMOUNT}
        assert container["env"] == [{"name": "STOWPLAN_SLICE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": FIELD}}}]
        reasons = [event["reason"] for event in events_of(apiserver, namespace, "good")]
        assert reasons.count("RungChosen") == 1

        apply(apiserver, service("good", "late", load={"requestsPerSecond": 2}), namespace=namespace)
        wait_until(lambda: apiserver.get("stow/good", "-n", namespace)["status"]["observedGeneration"] == 2, 10, "the change is not seen")
        assert apiserver.get("deployment/good", "-n", namespace)["metadata"]["generation"] == 1
        apiserver.kubectl("delete", "stow/good", "-n", namespace, "--timeout=60s")


def test_hostile_nesting_does_not_stop_the_watch(apiserver: Cluster, health_port: int) -> None:
    """An object nested nearly as deeply as the API server allows is looked at like any other, and services beside it and after it are too."""
    del health_port
    nested = json.dumps(service("nested", "absent")).replace('"template": {', '"template": {"x": ' + "[" * 9_900 + "]" * 9_900 + ", ", 1)

    def told(name: str) -> bool:
        return bool(apiserver.kubectl("get", f"stow/{name}", "-n", namespace, "-o", 'jsonpath={.status.conditions[?(@.type=="ModelAnalyzed")].reason}'))

    with own_namespace(apiserver, "nested") as namespace:
        apiserver.kubectl("create", "--validate=false", "-n", namespace, "-f", "-", stdin=nested)
        wait_until(lambda: told("nested"), 20, "the nested service is not looked at")
        apply(apiserver, service("after", "absent"), namespace=namespace)
        wait_until(lambda: told("after"), 20, "the service after it is not looked at")


def test_bad_settings_are_said_plainly() -> None:
    """A misspelt variable, or no credentials, ends the process at once with one line that says so."""
    for environment, text in (
        ({"STOWPLAN_OPERATOR_PREDICTOR_TARGET": "x"}, "did you mean STOWPLAN_OPERATOR_PREDICTOR_TARGETS?"),
        ({"STOWPLAN_OPERATOR_API_KUBECONFIG": "/nowhere"}, "no credentials for the API server from kubeconfig /nowhere"),
    ):
        run = subprocess.run([sys.executable, "-m", "stowplan_operator"], env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 1
        assert text in run.stderr.splitlines()[-1]

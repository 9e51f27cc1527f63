"""The examples are what they claim to be: understood by our own readers, accepted by a real API server, made by their generator."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane_clusters import Cluster
from stowplan_fleet import descriptors, keys
from stowplan_predictor.graphs import loading
from support.components import CRD

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a file, those of a List apart."""
    found = [document for document in yaml.safe_load_all((EXAMPLES / name).read_text()) if document]
    return found[0]["items"] if found[0]["kind"] == "List" else found


def test_every_example_service_names_a_model_that_is_there() -> None:
    """The digest pinned in a service is that of a file in examples/models, and its URI names a ConfigMap with the same file."""
    digests = {f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}": path.stem for path in (EXAMPLES / "models").glob("*.onnx")}
    config_maps = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in documents("models.yaml")}
    services = [*documents("services.yaml"), *(item for item in documents("cluster.yaml") if item["kind"] == keys.KIND)]

    for service in services:
        model = service["spec"]["model"]
        assert model["uri"] == f"configmap://{digests[model['digest']]}-graph/model.onnx"
        assert (service["metadata"]["namespace"], f"{digests[model['digest']]}-graph") in config_maps


def test_every_example_model_is_small_and_can_be_analysed() -> None:
    """Each model fits a ConfigMap many times over, and is a graph we understand."""
    for path in (EXAMPLES / "models").glob("*.onnx"):
        assert path.stat().st_size < 200_000
        assert loading.load_graph(path.read_bytes()).operators


def test_example_devices_are_marked_as_made_up() -> None:
    """No accuracy figure can rest on the examples."""
    (described,) = (item for item in documents("cluster.yaml") if item["kind"] == "ConfigMap")
    devices, problems = descriptors.read_devices(described["data"], "examples/cluster.yaml")

    assert problems == []
    assert {item["metadata"]["labels"].get(keys.DEVICE_LABEL) for item in documents("cluster.yaml") if item["kind"] == "Node"} == {*devices, None}
    assert all(device.fabricated and device.name.startswith("made-up") for device in devices.values())


@pytest.mark.controlplane
def test_a_real_api_server_accepts_the_examples(apiserver: Cluster) -> None:
    """`kubectl apply` takes models and services as they are, schema and rules of the CRD included."""
    apiserver.kubectl("apply", "-f", str(CRD))
    apiserver.kubectl("wait", "--for=condition=Established", "--timeout=20s", "crd/inferenceservices.stowplan.dev")
    apiserver.kubectl("create", "namespace", "vision")
    try:
        for name in ("models.yaml", "services.yaml"):
            apiserver.kubectl("apply", "--dry-run=server", "-f", str(EXAMPLES / name))
    finally:
        apiserver.kubectl("delete", "namespace", "vision", "--wait=false")

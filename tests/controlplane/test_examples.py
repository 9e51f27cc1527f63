"""The examples are what they claim to be: understood by our own readers, accepted by a real API server, made by their generator."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane_clusters import Cluster
from stowplan_fleet import descriptors, keys
from stowplan_predictor.graphs import loading
from support import api_definitions
from support.controlplane import apply

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a file, those of a List apart."""
    found = [document for document in yaml.safe_load_all((EXAMPLES / name).read_text()) if document]
    return found[0]["items"] if found[0]["kind"] == "List" else found


def names() -> list[str]:
    """Every file of objects, those in folders too."""
    return sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.y*ml"))


def without_identity(item: dict[str, Any]) -> dict[str, Any]:
    """An object of a snapshot as its author would have written it, without what the API server gave it, in a namespace of this test's own."""
    own = {key: value for key, value in item["metadata"].items() if key in {"name", "namespace", "labels", "annotations"}}
    return item | {"metadata": own | ({"namespace": f"examples-{own['namespace']}"} if own.get("namespace") else {})}


def test_every_example_service_names_a_model_that_is_there() -> None:
    """The digest pinned in a service is that of a file in examples/models, and its URI names a ConfigMap with the same file."""
    digests = {f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}": path.stem for path in (EXAMPLES / "models").glob("*.onnx")}
    config_maps = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in documents("models.yaml")}
    services = [item for name in names() for item in documents(name) if item["kind"] == keys.KIND]

    assert len(services) >= 8
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
def test_a_real_api_server_takes_every_example(apiserver: Cluster) -> None:
    """`kubectl apply` takes each object of each file, schema and rules of the CRD included; services and models for good, the rest of a snapshot dry."""
    api_definitions.serve(apiserver)
    namespaces = {f"examples-{item['metadata']['namespace']}" for name in names() for item in documents(name) if item["metadata"].get("namespace")}
    assert {"cluster.yaml", "models.yaml", "services.yaml", "serving.yaml", "gpus/cluster.yaml", "gpus/services.yaml"} <= set(names())
    for namespace in namespaces:
        apiserver.kubectl("create", "namespace", namespace)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        apply(apiserver, account, namespace=namespace)  # nothing makes one here, and a pod must have one
    try:
        for name in names():
            objects = [without_identity(item) for item in documents(name)]
            for_good = [item for item in objects if item["kind"] in {keys.KIND, "ConfigMap"}]
            dry = [item for item in objects if item not in for_good]
            for items, how in ((for_good, ()), (dry, ("--dry-run=server",))):
                if items:
                    text = "\n---\n".join(map(json.dumps, items))
                    said = apiserver.kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", *how, "-f", "-", stdin=text)
                    assert len(said.splitlines()) == len(items)
    finally:
        for namespace in namespaces:
            apiserver.kubectl("delete", "namespace", namespace, "--wait=false")

"""Makes examples/models (small ONNX files), examples/models.yaml (the same as ConfigMaps) and examples/cluster.yaml (a snapshot of a cluster).

`python tools/generators/examples.py ROOT` writes below ROOT. The models are the "light" ones of the onnx package: the published architectures
with weights made by ConstantOfShape nodes, so that a whole ResNet-50 takes 80 kB and fits a ConfigMap. The cluster and its devices are made up.
"""

import base64
import hashlib
import json
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx
import yaml
from stowplan_fleet import descriptors, keys
from stowplan_fleet.devices import CoreThroughput, CpuDevice
from stowplan_fleet.slices import DeviceName
from stowplan_predictor.graphs import loading

LIGHT_MODELS: Final = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS: Final = {"resnet50": "light_resnet50.onnx", "squeezenet": "light_squeezenet.onnx"}
NAMESPACE: Final = "vision"
TAKEN_AT: Final = "2026-11-22T08:00:00Z"


def made_up_device(name: str, speed: float, cores: int) -> CpuDevice:
    """A device that nobody measured: the AMD EPYC of datasets/ in round numbers, with other core counts, and its throughput times a speed.

    Near enough to what the shipped bundle was trained on to be judged, and marked as made up so that no accuracy figure rests on it.
    """
    isa = ("avx", "avx2", "avx512_bf16", "avx512_vnni", "avx512bw", "avx512dq", "avx512f", "avx512vl", "f16c", "fma", "sse4_1")
    dispatch_us = {"Add": 0.7, "Conv": 1.2, "LayerNormalization": 0.8, "MatMul": 0.8, "MaxPool": 0.8, "Mul": 0.4, "Relu": 0.3, "Reshape": 0.2}
    return CpuDevice(
        name=DeviceName(name),
        model="made up for the examples",
        isa=isa,
        cores=cores,
        l1d_bytes=32 << 10,
        l2_bytes=1 << 20,
        l3_bytes=32 << 20,
        throughputs=(CoreThroughput(1, speed * 93e9, speed * 26e9), CoreThroughput(2, speed * 138e9, speed * 28e9)),
        dispatch_us=dispatch_us | {"Sigmoid": 0.5, "Softmax": 1.1, "Transpose": 0.6},
        fabricated=True,
    )


DEVICES: Final = (made_up_device("made-up-quick", 1.0, 4), made_up_device("made-up-slow", 0.5, 8))


def graph_digest(model: bytes) -> str:
    """Digest of the operator graph, as the operator would have written it into the status."""
    return str(loading.load_graph(model).digest)


def model_digest(model: bytes) -> str:
    """Digest of the file."""
    return f"sha256:{hashlib.sha256(model).hexdigest()}"


def metadata(name: str, namespace: str | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 -- raw JSON
    """Metadata as the API server prints it; the uid follows from the name, so that the file is the same every time."""
    place = {"namespace": namespace} if namespace else {}
    uid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"stowplan.dev/examples/{namespace}/{name}"))
    return {"name": name, **place, "uid": uid, "creationTimestamp": TAKEN_AT, **more}


def node(name: str, cpu: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A ready node."""
    resources = {"cpu": cpu, "memory": "32Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata(name, labels={"kubernetes.io/hostname": name, **labels}),
        "status": {"allocatable": resources, "capacity": resources, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(name: str, namespace: str, node_name: str, container: Mapping[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 -- raw JSON
    """A running pod with one container."""
    scheduler = more.pop("scheduler", "default-scheduler")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, namespace, **more),
        "spec": {"nodeName": node_name, "schedulerName": scheduler, "containers": [{"name": "main", "image": "example.com/it", **container}]},
        "status": {"phase": "Running"},
    }


def resident(model: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """A service that lives in the cluster already, and its pod on the node quick-1."""
    name, slice_class = "shop-search", "made-up-quick/cpu:1"
    own = {"cpu": "1", "memory": "512Mi", keys.MARKER_RESOURCE: keys.MARKER_AMOUNT}
    service = {
        "apiVersion": f"{keys.GROUP}/{keys.VERSION}",
        "kind": keys.KIND,
        "metadata": metadata(name, NAMESPACE, generation=1),
        "spec": {
            "model": {"uri": "configmap://squeezenet-graph/model.onnx", "runtime": "onnxruntime-cpu", "digest": model_digest(model)},
            "slo": {"latencyMilliseconds": 100, "percentile": 95},
            "load": {"requestsPerSecond": 10, "payloadInstances": 1},
            "replicas": {"min": 1},
            "template": {"spec": {"containers": [{"name": "main", "image": "example.com/it"}]}},
        },
        "status": {
            "observedGeneration": 1,
            "model": {"digest": model_digest(model), "graphDigest": graph_digest(model)},
            "sliceClass": slice_class,
            "replicas": 1,
        },
    }
    its_pod = pod(
        f"{name}-6d5f7c9b8-x2x9z",
        NAMESPACE,
        "quick-1",
        {"resources": {"limits": own, "requests": own}},
        scheduler=keys.SCHEDULER_NAME,
        labels={keys.SERVICE_LABEL: name},
        annotations={keys.SLICE_CLASS_ANNOTATION: slice_class, keys.BOUND_SLICE_ANNOTATION: slice_class},
    )
    return service, its_pod


def snapshot(models: Mapping[str, bytes]) -> dict[str, Any]:
    """What kubectl would print of the cluster."""
    service, its_pod = resident(models["squeezenet"])
    quick, slow = ({keys.DEVICE_LABEL: device.name} for device in DEVICES)
    batch = {"resources": {"requests": {"cpu": "6"}}}
    agent = {"resources": {"requests": {"cpu": "50m"}}}
    items = [
        node("quick-1", "4", quick),
        node("quick-2", "4", quick),
        node("slow-1", "8", slow),
        node("slow-2", "8", slow),
        node("unmeasured-1", "16", {}),
        its_pod,
        pod("nightly-report", "reports", "slow-1", batch),
        pod("log-collector-7k2lp", "kube-system", "quick-1", agent),
        service,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata("devices", "stowplan-system", labels={keys.DESCRIPTORS_LABEL: "true"}),
            "data": {f"{device.name}.json": descriptors.write_device(device).decode() for device in DEVICES},
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}}


def config_maps(models: Mapping[str, bytes]) -> str:
    """The models as ConfigMaps."""
    documents = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}-graph", "namespace": NAMESPACE},
            "binaryData": {"model.onnx": base64.b64encode(model).decode()},
        }
        for name, model in models.items()
    ]
    return yaml.safe_dump_all(documents, width=160, sort_keys=False)


def block_strings(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Strings of several lines as blocks, as kubectl prints them."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def main(root: Path) -> None:
    """Writes the files."""
    yaml.SafeDumper.add_representer(str, block_strings)
    models = {name: (LIGHT_MODELS / file).read_bytes() for name, file in MODELS.items()}
    folder = root / "examples"
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        (folder / "models" / f"{name}.onnx").write_bytes(model)
    note = "# Made by tools/generators/examples.py: `make generate` makes it anew.\n"
    (folder / "models.yaml").write_text(note + config_maps(models))
    # Round trip through JSON: no anchors for values that stand there twice.
    (folder / "cluster.yaml").write_text(note + yaml.safe_dump(json.loads(json.dumps(snapshot(models))), width=160, sort_keys=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

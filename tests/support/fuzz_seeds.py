"""Sound inputs (and some that are hostile already) from which mutations start, by target."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from stowplan_fleet import descriptors, keys
from support import harbours
from support.model_seeds import models
from support.quays import TOY_DEVICE


@cache
def seeds() -> Mapping[str, Sequence[bytes]]:
    """By the name of the target."""
    return {
        "requests": _encoded(*_requests()),
        "objects": _encoded(*_objects()),
        "services": _encoded(*_services()),
        "models": models(),
    }


def _encoded(*items: object) -> list[bytes]:
    return [json.dumps(item).encode() for item in items]


def _requests() -> list[dict[str, Any]]:
    args = {"Pod": harbours.pod_json("p", "ant"), "Nodes": None, "NodeNames": ["one", "two", "three"]}
    stranger = {"Pod": harbours.pod_json("q", None), "NodeNames": ["two"]}
    other = {"Pod": harbours.pod_json("p", "bee", cpu="2"), "NodeNames": ["one"]}
    binding = {"PodName": "p", "PodNamespace": "vision", "PodUID": "uid-p", "Node": "one"}
    return [args, stranger, other, binding]


def _objects() -> list[dict[str, Any]]:
    described = {
        "metadata": {"name": "devices", "namespace": "stowplan-system", "labels": {"stowplan.dev/device-descriptors": "true"}},
        "data": {"toy-cpu.json": descriptors.write_device(TOY_DEVICE).decode()},
    }
    gpu = harbours.node_json("gpu")
    gpu["metadata"]["labels"] |= {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.memory": "81920", "nvidia.com/gpu.count": "2"}
    gpu["status"]["allocatable"] |= {"nvidia.com/gpu": "2", "nvidia.com/mig-1g.10gb": "7"}
    bound = harbours.pod_json("q", "bee", node_name="one", slice_class="toy-cpu/cpu:1")
    pods = [harbours.pod_json("p", "ant"), harbours.pod_json("r", None, node_name="one"), bound]
    return [*pods, harbours.node_json("one"), gpu, harbours.service_json("ant"), described]


def _services() -> list[dict[str, Any]]:
    server = {"name": "server", "image": "localhost/server:1"}
    plain = {
        "model": {"uri": "configmap://net-graph/model.onnx"},
        "slo": {"latencyMilliseconds": 50},
        "load": {"requestsPerSecond": 10},
        "template": {"spec": {"containers": [server]}},
    }
    rich = {
        "model": {
            "uri": "configmap://net-graph/model.onnx",
            "runtime": "onnxruntime-cpu",
            "inputShapes": {"x": [1, 3, 224, 224]},
            "digest": "sha256:" + "0" * 64,
        },
        "slo": {"latencyMilliseconds": 100, "percentile": 99},
        "load": {"requestsPerSecond": 10, "payloadInstances": 2},
        "server": {"type": "onnxruntime", "concurrency": 2, "maxBatch": 4},
        "replicas": {"min": 1, "max": 4},
        "placement": {"onUnknown": "Reject", "sharing": "Forbid", "sliceClasses": ["test-cpu/cpu:1", "test-cpu/cpu:2"]},
        "template": {
            "metadata": {"labels": {"app": "net"}, "annotations": {"a": "b"}},
            "spec": {
                "nodeSelector": {keys.DEVICE_LABEL: "test-cpu"},
                "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}, {"operator": "Exists"}],
                "containers": [
                    server
                    | {
                        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
                        "env": [{"name": "STOWPLAN_SLICE", "value": "mine"}, {"name": "X", "value": "1"}],
                    },
                    {"name": "beside", "image": "localhost/beside:1"},
                ],
            },
        },
    }
    condition = {"type": "Ready", "status": "True", "reason": "ReplicasReady", "message": "", "lastTransitionTime": "2026-11-22T07:00:00Z"}
    status = {
        "observedGeneration": 1,
        "conditions": [condition],
        "model": {"digest": "sha256:" + "1" * 64, "graphDigest": "sha256:" + "2" * 64},
        "sliceClass": "test-cpu/cpu:2",
        "replicas": 1,
        "predictedMilliseconds": 12.5,
        "rung": {
            "since": "2026-11-22T07:00:00Z",
            "waitingSince": "2026-11-22T07:30:00Z",
            "blocked": [{"sliceClass": "test-cpu/cpu:1", "until": "2026-11-22T08:03:00Z"}],
        },
        "ladder": [{"sliceClass": "test-cpu/cpu:2", "replicas": 1, "basis": "measured", "meetsSLO": True, "reason": "", "cost": 2.0, "costBasis": "share"}],
    }
    remote = plain | {"model": {"uri": "https://models.example.com/net.onnx"}}
    return [{"spec": plain}, {"spec": rich}, {"spec": plain, "status": status}, {"spec": remote}]

"""The InferenceService API against the real API server: what it takes, what it fills in, and what it says to what it does not take."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from controlplane_clusters import Cluster
from controlplane_errors import CommandFailed
from stowplan_fleet.manifests.decoding import from_plain
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.services import service_of
from support import api_definitions
from support.controlplane import apply, own_namespace

pytestmark = pytest.mark.controlplane
Object = dict[str, Any]


@pytest.fixture(scope="module")
def namespace(apiserver: Cluster) -> Iterator[str]:
    """A namespace where the API is served."""
    api_definitions.serve(apiserver)
    with own_namespace(apiserver, "api") as name:
        yield name


def minimal() -> Object:
    return {
        "apiVersion": "stowplan.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "net"},
        "spec": {
            "model": {"uri": "configmap://net-graph/model.onnx"},
            "slo": {"latencyMilliseconds": 50},
            "load": {"requestsPerSecond": 40},
            "template": {"spec": {"containers": [{"name": "server", "image": "localhost/server:1"}]}},
        },
    }


def with_(path: str, value: object, base: Object | None = None) -> Object:
    """The minimal object with one field set, by its dotted path; numbers are positions."""
    result = copy.deepcopy(base or minimal())
    *parents, last = path.split(".")
    place: Any = result
    for part in parents:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    place[last] = value
    return result


FULL = minimal() | {"metadata": {"name": "full"}}
FULL["spec"] = {
    "model": {
        "uri": "configmap://net-graph/model.onnx",
        "digest": "sha256:" + "0" * 64,
        "runtime": "onnxruntime-cpu",
        "inputShapes": {"x": [1, 3, 224, 224], "scalar": []},
        "precision": "float32",
    },
    "slo": {"latencyMilliseconds": 50, "percentile": 99},
    "load": {"requestsPerSecond": 40, "payloadInstances": 2},
    "server": {"type": "triton", "concurrency": 2, "maxBatch": 4},
    "replicas": {"min": 1, "max": 4},
    "placement": {
        "onUnknown": "Allow",
        "minimumBasis": "extrapolated",
        "sharing": "Deny",
        "sliceClasses": ["epyc-9b14/cpu:2", "epyc-9b14/cpu:500m"],
    },
    "observe": {},
    "template": {
        "metadata": {"labels": {"team": "vision"}},
        "spec": {
            "containers": [
                {"name": "server", "image": "i", "resources": {"limits": {"memory": "1Gi"}}, "ports": [{"containerPort": 80}]},
                {"name": "sidecar", "image": "i", "resources": {"limits": {"cpu": "100m"}}},
            ],
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        },
    },
}


def test_defaults_are_filled_in_and_the_template_is_kept(apiserver: Cluster, namespace: str) -> None:
    """What a user leaves out is filled in as documented and as the fleet's own reading has it; the pod template stays to the letter."""
    apply(apiserver, minimal(), FULL, namespace=namespace)
    stored = apiserver.get("stow/net", "-n", namespace)
    assert stored["spec"] == minimal()["spec"] | {
        "model": {"uri": "configmap://net-graph/model.onnx", "runtime": "onnxruntime-cpu", "inputShapes": {}, "precision": "float32"},
        "slo": {"latencyMilliseconds": 50, "percentile": 95},
        "load": {"requestsPerSecond": 40, "payloadInstances": 1},
        "server": {"type": "onnxruntime", "concurrency": 1, "maxBatch": 1},
        "replicas": {"min": 1},
        "placement": {"onUnknown": "Reject", "minimumBasis": "unvalidated", "sharing": "Allow", "sliceClasses": []},
        "observe": {},
    }
    read = [service_of(from_plain(item | {"metadata": stored["metadata"]}, InferenceServiceManifest)) for item in (minimal(), stored)]
    assert read[0] == read[1]
    assert apiserver.get("stow/full", "-n", namespace)["spec"] == FULL["spec"]


def test_the_category_lists_it_with_its_columns(apiserver: Cluster, namespace: str) -> None:
    """`kubectl get stowplan` prints the columns that a user watches."""
    apply(apiserver, minimal(), namespace=namespace)
    head, *rows = apiserver.kubectl("get", "stowplan", "-n", namespace).splitlines()
    assert head.split() == ["NAME", "READY", "SLO", "PREDICTED", "OBSERVED", "SLICE", "REPLICAS", "AGE"]
    assert any(row.split()[:2] == ["net", "50"] for row in rows)


def test_scaling_sets_the_least_replicas(apiserver: Cluster, namespace: str) -> None:
    """`kubectl scale` writes spec.replicas.min, within what the author allows."""
    apply(apiserver, with_("spec.replicas", {"min": 1, "max": 3}) | {"metadata": {"name": "scaled"}}, namespace=namespace)
    apiserver.kubectl("scale", "stow/scaled", "--replicas=3", "-n", namespace)
    assert apiserver.get("stow/scaled", "-n", namespace)["spec"]["replicas"] == {"min": 3, "max": 3}
    with pytest.raises(CommandFailed, match=r"spec\.replicas\.min must not exceed spec\.replicas\.max"):
        apiserver.kubectl("scale", "stow/scaled", "--replicas=4", "-n", namespace)


def without(path: str) -> Object:
    """The minimal object with one field missing, by its dotted path."""
    result = minimal()
    *parents, last = path.split(".")
    place: Any = result
    for part in parents:
        place = place[part]
    del place[last]
    return result


CONTAINER = "spec.template.spec.containers.0"
CONTAINERS = "spec.template.spec.containers"
SERVER = {"name": "server", "image": "i"}
REFUSED = [
    # What has to be there.
    (minimal() | {"apiVersion": "stowplan.dev/v1"}, 'no matches for kind "InferenceService" in version "stowplan.dev/v1"'),
    (without("spec"), "spec: Required value"),
    (without("spec.model"), "spec.model: Required value"),
    (without("spec.model.uri"), "spec.model.uri: Required value"),
    (without("spec.slo"), "spec.slo: Required value"),
    (without("spec.load"), "spec.load: Required value"),
    (without("spec.template"), "spec.template: Required value"),
    (with_("spec.slo", {}), "spec.slo.latencyMilliseconds: Required value"),
    (with_("spec.load", {}), "spec.load.requestsPerSecond: Required value"),
    (with_("spec.template", {"spec": {}}), f"{CONTAINERS}: Required value"),
    (with_(CONTAINERS, []), "should have at least 1 items"),
    (with_(CONTAINERS, [{"name": "server"}]), "image: Required value"),
    (with_(CONTAINERS, [{"image": "i"}]), "name: Required value"),
    # Names.
    (with_("metadata.name", "n" * 64), "metadata.name must have at most 63 characters, because it labels the pods"),
    (with_("metadata.name", "Net_1"), "a lowercase RFC 1123 subdomain"),
    (with_("spec.sloo", {}), 'unknown field "spec.sloo"'),
    (with_("spec.server.threads", 4), 'unknown field "spec.server.threads"'),
    (with_("spec.observe", {"query": "up"}), 'unknown field "spec.observe.query"'),
    # The model.
    (with_("spec.model.uri", "file:///model.onnx"), "file: works offline only"),
    (with_("spec.model.uri", "http://example.org/m.onnx"), "must be configmap://NAME/KEY, https://"),
    (with_("spec.model.uri", "resnet50.onnx"), "must be configmap://NAME/KEY, https://"),
    (with_("spec.model.uri", "x"), "should be at least 8 chars long"),
    (with_("spec.model.uri", "https://example.org/" + "m" * 1024), "may not be more than 1024"),
    (with_("spec.model.uri", "configmap://net-graph"), "a ConfigMap is named configmap://NAME/KEY"),
    (with_("spec.model.uri", "configmap://other-ns/net/model.onnx"), "a ConfigMap is named configmap://NAME/KEY"),
    (with_("spec.model.digest", "sha256:abc"), "spec.model.digest in body should match '^sha256:[0-9a-f]{64}$'"),
    (with_("spec.model.digest", "sha256:" + "0" * 65), "spec.model.digest: Too long: may not be more than 71"),
    (with_("spec.model.runtime", "ONNX Runtime"), "spec.model.runtime in body should match '^[a-z0-9]"),
    (with_("spec.model.inputShapes", {"x": [1, 0]}), "spec.model.inputShapes.x[1] in body should be greater than or equal to 1"),
    (with_("spec.model.inputShapes", {"x": [-1]}), "greater than or equal to 1"),
    (with_("spec.model.inputShapes", {"x": [1 << 31]}), "less than or equal to 2147483647"),
    (with_("spec.model.inputShapes", {"x": ["batch"]}), "must be of type integer"),
    (with_("spec.model.inputShapes", {"x": [1] * 17}), "must have at most 16 items"),
    (with_("spec.model.inputShapes", {f"x{index}": [1] for index in range(65)}), "must have at most 64 items"),
    (with_("spec.model.inputShapes", {"x" * 129: [1]}), "names of inputs have 1 to 128 characters"),
    (with_("spec.model.precision", "float16"), 'supported values: "float32"'),
    # Objective, load, server.
    (with_("spec.slo.latencyMilliseconds", 0), "greater than or equal to 1"),
    (with_("spec.slo.latencyMilliseconds", 12.5), "must be of type integer"),
    (with_("spec.slo.latencyMilliseconds", "50ms"), "must be of type integer"),
    (with_("spec.slo.latencyMilliseconds", 3_600_001), "less than or equal to 3600000"),
    (with_("spec.slo.percentile", 0), "greater than or equal to 1"),
    (with_("spec.slo.percentile", 100), "less than or equal to 99"),
    (with_("spec.load.requestsPerSecond", 0), "greater than or equal to 1"),
    (with_("spec.load.requestsPerSecond", 1_000_001), "less than or equal to 1000000"),
    (with_("spec.load.payloadInstances", 0), "greater than or equal to 1"),
    (with_("spec.load.payloadInstances", 4097), "less than or equal to 4096"),
    (with_("spec.server.type", "apache"), 'supported values: "onnxruntime", "triton"'),
    (with_("spec.server.concurrency", 0), "greater than or equal to 1"),
    (with_("spec.server.concurrency", 1025), "less than or equal to 1024"),
    (with_("spec.server.maxBatch", 0), "greater than or equal to 1"),
    # Replicas and placement.
    (with_("spec.replicas", {"min": 3, "max": 2}), "spec.replicas.min must not exceed spec.replicas.max"),
    (with_("spec.replicas.min", 0), "greater than or equal to 1"),
    (with_("spec.replicas", {"min": 1, "max": 1001}), "less than or equal to 1000"),
    (with_("spec.placement.onUnknown", "Maybe"), 'supported values: "Reject", "Allow"'),
    (with_("spec.placement.minimumBasis", "unknown"), 'supported values: "measured", "extrapolated", "unvalidated"'),
    (with_("spec.placement.minimumBasis", "Measured"), 'supported values: "measured", "extrapolated", "unvalidated"'),
    (with_("spec.placement.minimumBasis", ["measured"]), "must be of type string"),
    (with_("spec.placement.minimumBasis", ""), 'supported values: "measured", "extrapolated", "unvalidated"'),
    (with_("spec.placement.sharing", "Never"), 'supported values: "Allow", "Deny"'),
    (with_("spec.placement.sliceClasses", ["cpu:2"]), "a slice class is DEVICE/SLICE"),
    (with_("spec.placement.sliceClasses", ["x/cpu:0"]), "a slice class is DEVICE/SLICE"),
    (with_("spec.placement.sliceClasses", ["x/mps-101"]), "a slice class is DEVICE/SLICE"),
    (with_("spec.placement.sliceClasses", ["x/cpu:1", "x/cpu:1"]), "Duplicate value"),
    (with_("spec.placement.sliceClasses", [f"x/cpu:{index}" for index in range(1, 34)]), "must have at most 32 items"),
    (with_("spec.placement.sliceClasses", ["NVIDIA-A100/full"]), "names a class that is no CPU slice"),
    (
        with_("spec.placement.sliceClasses", ["x/cpu:2"], with_("spec.model.runtime", "torch-inductor")),
        "names a CPU slice, but spec.model.runtime runs on GPUs",
    ),
    # The template.
    (with_(CONTAINERS, [SERVER, SERVER]), "Duplicate value"),
    (with_(CONTAINERS, [SERVER | {"name": f"c{index}"} for index in range(17)]), "must have at most 16 items"),
    (with_(f"{CONTAINER}.name", "Server"), f"{CONTAINERS}[0].name in body should match '^[a-z0-9]"),
    (with_("spec.template.spec.schedulerName", "default-scheduler"), "no other scheduler keeps the objective"),
    (with_("spec.template.spec.nodeName", "n1"), "goes past every scheduler; use nodeSelector"),
    (with_("spec.template.spec.restartPolicy", "Never"), "a service does not end"),
    (with_("spec.template.metadata.labels", {"stowplan.dev/x": "y"}), "labels under stowplan.dev/ are Stowplan's own"),
    (with_("spec.template.metadata.labels", {"team": "v" * 64}), "may not be more than 63"),
    (with_("spec.template.metadata.annotations", {"stowplan.dev/slice": "y"}), "annotations under stowplan.dev/ are Stowplan's own"),
    (with_(f"{CONTAINER}.resources", {"limits": {"cpu": "2"}}), "the chosen slice sets its cores; remove cpu"),
    (with_(f"{CONTAINER}.resources", {"requests": {"cpu": "2"}}), "the chosen slice sets its cores; remove cpu"),
    (with_(f"{CONTAINER}.resources", {"limits": {"nvidia.com/gpu": 1}}), "are set by the chosen slice"),
    (with_(f"{CONTAINER}.resources", {"requests": {"stowplan.dev/slo": "1"}}), "are set by the chosen slice"),
]


def test_there_are_fifty_mistakes_and_more() -> None:
    """No two objects are alike, and they are refused in fifty different ways at least."""
    mistakes = [json.dumps(item, sort_keys=True) for item, _ in REFUSED]
    assert len(set(mistakes)) == len(mistakes) >= 75
    assert len({message for _, message in REFUSED}) >= 50


@pytest.mark.parametrize(("item", "message"), REFUSED, ids=[f"{number}: {message[:50]}" for number, (_, message) in enumerate(REFUSED)])
def test_what_is_wrong_is_said(apiserver: Cluster, namespace: str, item: Object, message: str) -> None:
    """Each mistake is refused at once, with words that say what to change."""
    with pytest.raises(CommandFailed) as caught:
        apply(apiserver, item, namespace=namespace)
    assert message in str(caught.value).replace('\\"', '"')

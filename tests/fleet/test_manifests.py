"""Kubernetes objects at the JSON edge: what is read, and what is refused by name and path."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet import keys
from stowplan_fleet.answers import Basis
from stowplan_fleet.errors import ManifestRefused, ValueRefused
from stowplan_fleet.manifests import configmaps, decoding, nodes, pods
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.objects import ListEnvelope, WatchEnvelope
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.manifests.services import service_of
from stowplan_fleet.services import OnUnknown, Service, Sharing
from stowplan_fleet.slices import parse_slice_class


def document(**spec: Any) -> dict[str, Any]:
    """A small sound InferenceService, its spec changed at the top level."""
    base = {"model": {"uri": "configmap://g/model.onnx"}, "slo": {"latencyMilliseconds": 50}, "load": {"requestsPerSecond": 40}}
    return {"metadata": {"name": "resnet50", "namespace": "vision"}, "spec": base | spec}


def service(value: dict[str, Any]) -> Service:
    """The service that a document means."""
    return service_of(decoding.from_plain(value, InferenceServiceManifest))


def test_defaults_are_those_of_the_resource_definition() -> None:
    """A service that says only what it must gets the documented defaults."""
    found = service(document())

    assert (found.name, found.runtime, found.graph_digest) == ("vision/resnet50", "onnxruntime-cpu", None)
    assert (found.slo.latency_ms, found.slo.percentile) == (50.0, 95)
    assert (found.load.requests_per_second, found.load.payload_instances) == (40.0, 1)
    assert (found.server.concurrency, found.server.max_batch) == (1, 1)
    assert (found.replicas, found.replicas_min, found.replicas_max) == (1, 1, 1)
    assert (found.placement.on_unknown, found.placement.sharing, found.placement.slice_classes) == (OnUnknown.REJECT, Sharing.ALLOW, ())
    assert found.placement.minimum_basis is Basis.UNVALIDATED


def test_everything_said_is_read() -> None:
    """Every field of the spec, and of the status what others need, reaches the service."""
    value = document(
        slo={"latencyMilliseconds": 7, "percentile": 99},
        load={"requestsPerSecond": 3, "payloadInstances": 2},
        server={"type": "triton", "concurrency": 4, "maxBatch": 8},
        replicas={"min": 2, "max": 5},
        placement={"onUnknown": "Allow", "minimumBasis": "extrapolated", "sharing": "Deny", "sliceClasses": ["epyc/cpu:2"]},
    ) | {"status": {"replicas": 3, "model": {"graphDigest": "sha256:" + "a" * 64}}}
    found = service(value)

    assert (found.slo.percentile, found.load.payload_instances) == (99, 2)
    assert (found.server.type, found.server.concurrency, found.server.max_batch) == ("triton", 4, 8)
    assert (found.replicas, found.replicas_min, found.replicas_max) == (3, 2, 5)
    assert found.graph_digest == "sha256:" + "a" * 64
    assert (found.placement.on_unknown, found.placement.sharing) == (OnUnknown.ALLOW, Sharing.DENY)
    assert found.placement.minimum_basis is Basis.EXTRAPOLATED
    assert found.placement.slice_classes == (parse_slice_class("epyc/cpu:2"),)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "percentile 0": ({"slo": {"latencyMilliseconds": 50, "percentile": 0}}, "spec.slo.percentile"),
    "percentile 100": ({"slo": {"latencyMilliseconds": 50, "percentile": 100}}, "spec.slo.percentile"),
    "no latency": ({"slo": {}}, "latencyMilliseconds"),
    "latency 0": ({"slo": {"latencyMilliseconds": 0}}, "spec.slo.latencyMilliseconds"),
    "latency NaN": ({"slo": {"latencyMilliseconds": math.nan}}, "spec.slo.latencyMilliseconds"),
    "latency infinite": ({"slo": {"latencyMilliseconds": math.inf}}, "spec.slo.latencyMilliseconds"),
    "latency text": ({"slo": {"latencyMilliseconds": "50"}}, "spec.slo.latencyMilliseconds"),
    "rate negative": ({"load": {"requestsPerSecond": -1}}, "spec.load.requestsPerSecond"),
    "rate absurd": ({"load": {"requestsPerSecond": 10**12}}, "spec.load.requestsPerSecond"),
    "min above max": ({"replicas": {"min": 3, "max": 2}}, "spec.replicas"),
    "no replicas": ({"replicas": {"min": 0}}, "spec.replicas.min"),
    "no such policy": ({"placement": {"onUnknown": "Perhaps"}}, "spec.placement.onUnknown"),
    "no basis": ({"placement": {"minimumBasis": "unknown"}}, "spec.placement.minimumBasis"),
    "a basis in other letters": ({"placement": {"minimumBasis": "Measured"}}, "spec.placement.minimumBasis"),
    "no slice class": ({"placement": {"sliceClasses": ["epyc/cpu:1", "big"]}}, r"spec.placement.sliceClasses\[1\]"),
    "too many slice classes": ({"placement": {"sliceClasses": ["epyc/cpu:1"] * 33}}, "spec.placement.sliceClasses"),
    "extent 0": ({"model": {"uri": "x", "inputShapes": {"x": [1, 0]}}}, r"inputShapes\['x'\]\[1\]"),
    "extent absurd": ({"model": {"uri": "x", "inputShapes": {"x": [2**40]}}}, r"inputShapes\['x'\]\[0\]"),
    "rank absurd": ({"model": {"uri": "x", "inputShapes": {"x": [1] * 1000}}}, "inputShapes"),
    "runtime text": ({"model": {"uri": "x", "runtime": "../../etc"}}, "spec.model.runtime"),
    "a list for a mapping": ({"slo": [1, 2]}, "spec.slo"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_refused_by_path(case: str) -> None:
    """The message names the field, so that its author finds it."""
    change, path = BAD[case]
    with pytest.raises(ManifestRefused, match=path):
        service(document(**change))


def test_a_refusal_names_the_object() -> None:
    """Among many services one knows whose fault it is."""
    with pytest.raises(ManifestRefused, match="vision/resnet50"):
        service(document(replicas={"min": 0}))


def test_null_means_absent() -> None:
    """A key with nothing behind it, as people leave it in YAML, counts as not written."""
    value = document(placement=None, replicas={"min": 2, "max": None})
    value["metadata"]["labels"] = None

    assert service(value).replicas_max == 2


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_trees = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)
_fields = st.sampled_from(["model", "slo", "load", "server", "replicas", "placement", "template", "observe"])


@given(st.dictionaries(_fields, _trees, min_size=1, max_size=3))
def test_hostile_specs_are_read_or_refused(changes: dict[str, Any]) -> None:
    """Whatever a spec holds, reading it ends in a service or in ManifestRefused."""
    try:
        found = service(document(**changes))
    except ManifestRefused:
        return
    assert 1 <= found.slo.percentile <= 99
    assert math.isfinite(found.slo.latency_ms)


@given(st.binary(max_size=60) | _trees.map(lambda tree: json.dumps(tree).encode()))
def test_hostile_json_is_read_or_refused(data: bytes) -> None:
    """Whatever bytes come, decoding ends in an object or in ManifestRefused."""
    for kind in (PodManifest, nodes.NodeManifest, InferenceServiceManifest, ListEnvelope, configmaps.ConfigMapManifest):
        try:
            decoding.from_json(data, kind)
        except ManifestRefused as error:
            assert kind.__name__ in str(error)  # noqa: PT017 - both ends are fine, the message is what is promised


def test_deep_nesting_is_refused() -> None:
    """A bomb of brackets is refused and does not overflow the stack."""
    bomb = b'{"spec":{"template":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}}"
    with pytest.raises(ManifestRefused):
        decoding.from_json(bomb, InferenceServiceManifest)


def test_items_of_a_list_stay_undecoded() -> None:
    """A list's head can be read before anyone knows what its items are: a broken one touches no other."""
    raw = json.dumps({"metadata": {"resourceVersion": "7", "continue": "abc"}, "items": [document(), document(slo=3)]}).encode()
    envelope = decoding.from_json(raw, ListEnvelope)
    sound, broken = envelope.items or []

    assert (envelope.metadata.resource_version, envelope.metadata.continue_token) == ("7", "abc")
    assert decoding.from_json(sound, InferenceServiceManifest).metadata.name == "resnet50"
    with pytest.raises(ManifestRefused, match="vision/resnet50"):
        decoding.from_json(broken, InferenceServiceManifest)


def test_a_watch_event_keeps_its_object_undecoded() -> None:
    """The type of an event can be read before anyone knows what its object is."""
    event = decoding.from_json(b'{"type":"ADDED","object":{"metadata":{"name":"p"}}}', WatchEnvelope)

    assert (event.type, decoding.from_json(event.object, PodManifest).metadata.name) == ("ADDED", "p")


def pod(**spec: Any) -> PodManifest:
    """A pod with that spec."""
    return decoding.from_plain({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}, PodManifest)


def container(cpu: str | None = None, limit: str | None = None, **more: Any) -> dict[str, Any]:
    """A container with a CPU request, a limit, or neither."""
    resources = {kind: {"cpu": value} for kind, value in (("requests", cpu), ("limits", limit)) if value}
    return {"name": "c", "resources": resources} | more


SIDECAR = {"restartPolicy": "Always"}
REQUESTS: dict[str, tuple[dict[str, Any], int]] = {
    "containers add up": ({"containers": [container("1"), container("250m")]}, 1250),
    "a limit alone is a request": ({"containers": [container(limit="2"), container()]}, 2000),
    "a request wins over a limit": ({"containers": [container("1", "4")]}, 1000),
    "a large init container": ({"containers": [container("1")], "initContainers": [container("3"), container("2")]}, 3000),
    "a small init container": ({"containers": [container("1")], "initContainers": [container("500m")]}, 1000),
    "a sidecar runs beside": ({"containers": [container("1")], "initContainers": [container("500m", **SIDECAR)]}, 1500),
    "init after a sidecar": ({"containers": [container("1")], "initContainers": [container("1", **SIDECAR), container("3")]}, 4000),
    "init before a sidecar": ({"containers": [container("1")], "initContainers": [container("3"), container("1", **SIDECAR)]}, 3000),
    "overhead": ({"containers": [container("1")], "overhead": {"cpu": "100m"}}, 1100),
    "the pod as a whole": ({"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}}, 3000),
    "numbers as people write them": ({"containers": [{"resources": {"requests": {"cpu": 0.5}}}, {"resources": {"requests": {"cpu": 2}}}]}, 2500),
    "nothing asked": ({"containers": [container()]}, 0),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_cpu_requests_follow_the_schedulers_rule(case: str) -> None:
    """What a pod requests is what kube-scheduler reserves for it."""
    spec, expected = REQUESTS[case]

    assert pods.cpu_request_millicores(pod(**spec)) == expected


def test_a_request_that_is_no_quantity_names_the_pod() -> None:
    """A broken request names pod and resource."""
    with pytest.raises(ManifestRefused, match="pod n/p: request for cpu"):
        pods.cpu_request_millicores(pod(containers=[container("lots")]))


def test_other_resources_are_counted_the_same_way() -> None:
    """GPUs and markers follow the same rule."""
    asked = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2", keys.MARKER_RESOURCE: "1"}}}

    assert pods.resource_request(pod(containers=[asked]), "nvidia.com/gpu") == 2
    assert pods.resource_request(pod(containers=[asked]), keys.MARKER_RESOURCE) == 1


def test_a_bound_slice_wins_over_the_wanted_one() -> None:
    """What the binding wrote is what the pod holds; before, it is what the template asks for; a foreign pod has none."""
    annotations = {keys.SLICE_CLASS_ANNOTATION: "epyc/cpu:1"}
    wanted = decoding.from_plain({"metadata": {"annotations": annotations}}, PodManifest)
    written = {"metadata": {"annotations": annotations | {keys.BOUND_SLICE_ANNOTATION: "epyc/cpu:2"}}}
    claimed = decoding.from_plain(written, PodManifest)
    bound = decoding.from_plain(written | {"spec": {"nodeName": "n"}}, PodManifest)

    found = [str(pods.slice_class_of(item)) for item in (wanted, claimed, bound, PodManifest())]
    assert found == ["epyc/cpu:1", "epyc/cpu:1", "epyc/cpu:2", "None"]


def test_a_hostile_slice_annotation_is_refused_by_name() -> None:
    """A malformed annotation names pod and annotation."""
    broken = decoding.from_plain({"metadata": {"name": "p", "annotations": {keys.SLICE_CLASS_ANNOTATION: "../x"}}}, PodManifest)
    with pytest.raises(ManifestRefused, match=f"pod p: annotation {keys.SLICE_CLASS_ANNOTATION}"):
        pods.slice_class_of(broken)


def test_the_service_of_a_pod_lies_in_its_namespace() -> None:
    """The label names the service; everyone else's pods have none."""
    ours = decoding.from_plain({"metadata": {"namespace": "vision", "labels": {keys.SERVICE_LABEL: "resnet50"}}}, PodManifest)

    assert (pods.service_name_of(ours), pods.service_name_of(PodManifest())) == ("vision/resnet50", None)


def test_configmaps_hold_text_and_bytes() -> None:
    """Both kinds of values are found; a missing key and broken base64 are refused by name."""
    manifest = decoding.from_plain({"metadata": {"name": "m"}, "data": {"a": "text"}, "binaryData": {"b": "AP8=", "c": "*"}}, configmaps.ConfigMapManifest)

    assert (configmaps.value_of(manifest, "a"), configmaps.value_of(manifest, "b")) == (b"text", b"\x00\xff")
    for key in ("c", "nothing"):
        with pytest.raises(ValueRefused, match="ConfigMap m"):
            configmaps.value_of(manifest, key)


def test_encoding_leaves_defaults_out() -> None:
    """What we write holds what was said, in camelCase."""
    manifest = decoding.from_plain(document(slo={"latencyMilliseconds": 5}), InferenceServiceManifest)

    assert msgspec.json.decode(decoding.to_json(manifest))["spec"]["slo"] == {"latencyMilliseconds": 5}


@pytest.mark.parametrize(
    "spec",
    [
        {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "zone"}}]}}},
        {"volumes": [{"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}]},
        {"volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]},
        {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}]},
    ],
)
@pytest.mark.parametrize("nulls", [{}, {"tolerations": None}], ids=["", "beside a null"])
def test_what_only_has_to_be_there_is_read_from_every_source(spec: dict[str, Any], nulls: dict[str, Any]) -> None:
    """Of preferences and claims only their being there counts: alike from the API server's JSON, from a snapshot, and beside a null that Go wrote."""
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": spec | nulls}
    told = decoding.from_json(json.dumps(pod).encode(), PodManifest)
    assert told == decoding.from_plain(pod, PodManifest)
    assert pods.states_preferences(told) is ("affinity" in spec)
    assert pods.waits_for_claims(told) is ("affinity" not in spec)

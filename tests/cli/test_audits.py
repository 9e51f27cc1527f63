"""An audit notices what it is there to notice, and tells a broken promise from what was changed after it was made."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stowplan_cli.objects import plainobjects
from stowplan_cli.promises import audits
from stowplan_cli.promises.audits import Invariant
from stowplan_fleet import keys
from support import cluster_objects as objects
from support.command_lines import Desk, Run

NODE = {
    "metadata": {"name": "n", "labels": {keys.DEVICE_LABEL: "made-up"}},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "nvidia.com/mig-1g.10gb": "1"}},
}
BOUND = {
    keys.SLICE_CLASS_ANNOTATION: "made-up/cpu:1",
    keys.BOUND_SLICE_ANNOTATION: "made-up/cpu:1",
    keys.PREDICTED_MS_ANNOTATION: "9.5",
    keys.BASIS_ANNOTATION: "extrapolated",
    keys.BUNDLE_ANNOTATION: "b@1",
    keys.PREDICTION_ID_ANNOTATION: "x",
}
SERVICE = {"metadata": {"name": "s", "namespace": "t", "generation": 1}, "spec": {"slo": {"latencyMilliseconds": 10}}, "status": {"conditions": []}}


BOUND_AT, BEFORE, AFTER = "2026-11-22T12:00:00Z", "2026-11-22T11:59:00Z", "2026-11-22T12:00:01Z"


def pod(name: str = "p", node: str | None = "n", annotations: Mapping[str, str] = BOUND, limits: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod of ours with those limits beside a core."""
    resources = {"limits": {keys.MARKER_RESOURCE: keys.MARKER_AMOUNT, "cpu": "1", **(limits or {})}}
    metadata = {"name": name, "namespace": "t", "labels": {keys.SERVICE_LABEL: "s"}, "annotations": dict(annotations)}
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": BOUND_AT}
    spec = {"nodeName": node, "schedulerName": keys.SCHEDULER_NAME, "containers": [{"resources": resources}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running", "conditions": [scheduled]}}


def written(item: Mapping[str, Any], when: str) -> dict[str, Any]:
    """The object with its spec last written then."""
    return {**item, "metadata": {**item["metadata"], "managedFields": [{"time": when}, {"time": "2026-11-22T23:00:00Z", "subresource": "status"}]}}


def violations(nodes: list[dict[str, Any]], pods: list[dict[str, Any]], services: list[dict[str, Any]]) -> list[str]:
    """What is broken, in words."""
    return [str(finding) for finding in audits.structural(nodes, pods, services) if finding.broken]


def test_a_sound_cluster_passes() -> None:
    """Two pods of ours that fill a node exactly, each with what the Binding wrote, break nothing."""
    assert violations([NODE], [pod("a"), pod("b")], [SERVICE]) == []


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([pod("a"), pod("b"), pod("c")], "promised 3 cpu and has 2"),
        ([pod("a", limits={"nvidia.com/mig-1g.10gb": "1"}), pod("b", limits={"nvidia.com/mig-1g.10gb": "1"})], "promised 2 nvidia.com/mig-1g.10gb and has 1"),
        ([pod(limits={"memory": "1025Mi"})], "memory"),
        ([pod(annotations={keys.SLICE_CLASS_ANNOTATION: "made-up/cpu:1"})], "bound without"),
        ([pod(annotations=BOUND | {keys.BOUND_SLICE_ANNOTATION: "made-up/cpu:2"})], "was to have slice"),
        ([pod(annotations=BOUND | {keys.SLICE_CLASS_ANNOTATION: "other/cpu:1", keys.BOUND_SLICE_ANNOTATION: "other/cpu:1"})], "whose device is made-up"),
        ([pod(annotations=BOUND | {keys.PREDICTED_MS_ANNOTATION: "10.5"})], "against an objective of 10 ms"),
        ([pod(annotations=BOUND | {keys.PREDICTED_MS_ANNOTATION: "nan"})], "against an objective of 10 ms"),
        ([pod(annotations=BOUND | {keys.PREDICTED_MS_ANNOTATION: "quick"})], "against an objective of 10 ms"),
        ([pod(annotations=BOUND | {keys.BASIS_ANNOTATION: "guessed"})], "a prediction that is guessed"),
        ([pod(node=None)], "not bound"),
    ],
)
def test_a_broken_cluster_is_noticed(pods: list[dict[str, Any]], said: str) -> None:
    """Each way to break a promise is named: too much of a resource, no slice written, another slice or device, a prediction over the objective."""
    assert any(said in found for found in violations([NODE], pods, [SERVICE]))


@pytest.mark.parametrize(("minimum", "holds"), [("unvalidated", True), ("extrapolated", True), ("measured", False)])
def test_a_basis_weaker_than_the_service_wants_is_noticed(minimum: str, *, holds: bool) -> None:
    """A pod is bound on the basis that its service wants, or a surer one; that the service wanted less at that time is noted."""
    wanting = SERVICE | {"spec": {"slo": {"latencyMilliseconds": 10}, "placement": {"minimumBasis": minimum}}}
    assert (violations([NODE], [pod()], [wanting]) == []) is holds
    for when, broken in ((AFTER, False), (BEFORE, True)):
        for finding in audits.structural([NODE], [pod()], [written(wanting, when)]):
            assert (finding.invariant, finding.broken) == (Invariant.BOUND_AS_DECIDED, broken)
            assert f"extrapolated, and its service wants {minimum} or better" in finding.text


ALONE = SERVICE | {"spec": {"slo": {"latencyMilliseconds": 10}, "placement": {"sharing": "Deny"}}}
SHARED_GPU = {
    "metadata": {"name": "n", "labels": {keys.GPU_PRODUCT: "NVIDIA-A100-SXM4-80GB-SHARED"}},
    "status": {"allocatable": {"cpu": "8", "memory": "1Gi", keys.GPU_SHARED_RESOURCE: "4"}},
}


def on_gpu(kind: str, device: str = "NVIDIA-A100-SXM4-80GB") -> dict[str, str]:
    """What a Binding writes of a slice of a GPU."""
    return BOUND | dict.fromkeys((keys.SLICE_CLASS_ANNOTATION, keys.BOUND_SLICE_ANNOTATION), f"{device}/{kind}")


def foreign(cpu: str = "500m", when: str = BEFORE) -> dict[str, Any]:
    """A pod that the default scheduler bound."""
    made = pod("foreign", annotations={})
    made["spec"] |= {"schedulerName": "default-scheduler", "containers": [{"resources": {"requests": {"cpu": cpu}}}]}
    made["status"]["conditions"][0]["lastTransitionTime"] = when
    return made


@pytest.mark.parametrize(
    ("pods", "shares"),
    [
        ([pod("a")], None),
        ([pod("a"), pod("b")], "with t/b"),
        ([pod("a"), foreign()], "with t/foreign"),
        ([pod("a"), foreign(cpu="99m")], None),
        ([pod("a"), foreign(when=AFTER)], None),
        ([pod("a"), foreign(when=BOUND_AT)], None),
    ],
)
def test_a_server_that_was_promised_its_device_alone_has_it(pods: list[dict[str, Any]], shares: str | None) -> None:
    """Another server of ours, or somebody who was there before it, breaks that; agents and those whom others put there later do not."""
    found = [said for said in violations([NODE], pods, [ALONE]) if "SoleTenantAlone" in said]
    assert (shares in found[0]) if shares else not found
    assert not any("SoleTenantAlone" in said for said in violations([NODE], pods, [SERVICE]))
    later = audits.structural([NODE], pods, [written(ALONE, AFTER)])
    assert not any(finding.broken for finding in later if finding.invariant is Invariant.SOLE_TENANT_ALONE)


@pytest.mark.parametrize(("kind", "alone"), [("time-4", False), ("mps-25", False), ("full", True), ("mig-1g.10gb", True)])
def test_alone_on_a_gpu_means_on_what_is_shared(kind: str, *, alone: bool) -> None:
    """Two slices of a GPU that is shared by time or by MPS are tenants of each other; whole GPUs and MIG instances are nobody's neighbours."""
    pods = [pod(name, annotations=on_gpu(kind), limits={keys.GPU_SHARED_RESOURCE: "1"}) for name in ("a", "b")]
    assert any("SoleTenantAlone" in said for said in violations([SHARED_GPU], pods, [ALONE])) is not alone


@pytest.mark.parametrize(("device", "sound"), [("NVIDIA-A100-SXM4-80GB", True), ("NVIDIA-H100-80GB-HBM3", False)])
def test_a_slice_of_another_gpu_is_noticed(device: str, *, sound: bool) -> None:
    """The resource's name is the same on both; the node's label tells."""
    found = violations([SHARED_GPU], [pod(annotations=on_gpu("time-4", device), limits={keys.GPU_SHARED_RESOURCE: "1"})], [SERVICE])
    assert (found == []) is sound


def test_a_condition_of_a_generation_that_never_was_is_noticed() -> None:
    """A condition may not observe a generation beyond the object's own, nor stand there without a reason."""
    condition = {"type": "Ready", "status": "True", "reason": "Fine", "observedGeneration": 2}

    assert any("condition" in found for found in violations([], [], [SERVICE | {"status": {"conditions": [condition]}}]))
    assert violations([], [], [SERVICE | {"status": {"conditions": [condition | {"observedGeneration": 1}]}}]) == []


def test_what_changed_after_the_decision_is_noted_and_not_broken() -> None:
    """An objective tightened, a label taken away or a device plugin that lost a slice after the pod was bound: noted. Changed before it: broken."""
    tight = SERVICE | {"spec": {"slo": {"latencyMilliseconds": 5}}}
    bare = {"metadata": {"name": "n"}, "status": NODE["status"]}
    small = {**NODE, "status": {"allocatable": {"cpu": "500m", "memory": "1Gi"}}}
    for nodes, services, invariant in (
        ([NODE], [tight], Invariant.NEWCOMER_WITHIN_OBJECTIVE),
        ([bare], [SERVICE], Invariant.BOUND_AS_DECIDED),
        ([small], [SERVICE], Invariant.NO_SLICE_OVER_PROMISED),
    ):
        for when, broken in ((AFTER, False), (BEFORE, True)):
            (finding,) = audits.structural([written(item, when) for item in nodes], [pod()], [written(item, when) for item in services])
            assert (finding.invariant, finding.broken) == (invariant, broken)


def test_a_node_that_is_gone_and_strangers_among_themselves_break_no_promise_of_ours() -> None:
    """Pods of a deleted node wait for the garbage collector; a node that other schedulers filled beyond its size holds nobody of ours."""
    stranger = pod("a", annotations={})
    stranger["spec"] |= {"schedulerName": "default-scheduler", "containers": [{"resources": {"requests": {"cpu": "3"}}}]}
    assert violations([], [pod()], [SERVICE]) == []
    assert violations([NODE], [stranger], []) == []
    assert any("promised 4 cpu" in found for found in violations([NODE], [stranger, pod()], [SERVICE]))


def test_requests_are_those_the_scheduler_sets_aside() -> None:
    """Sidecars run beside containers, an init container alone with the sidecars before it; requests of the whole pod win; overhead is added."""
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    starting = {"resources": {"requests": {"cpu": "2"}}}
    spec = {"initContainers": [sidecar, starting], "containers": [{"resources": {"limits": {"cpu": "500m", "memory": "1e3"}}}], "overhead": {"cpu": "50m"}}
    assert plainobjects.requests_of({"spec": spec}) == pytest.approx({"cpu": 2.15, "memory": 1000.0})
    assert plainobjects.requests_of({"spec": spec | {"resources": {"requests": {"cpu": "1"}}}})["cpu"] == pytest.approx(1.05)


@pytest.fixture
def shared(tmp_path: Path, desk: Desk) -> Any:
    """Writes a cluster of one node with so many servers of a service on it, bound by the desk's bundle."""
    bundle = json.loads((desk.bundle / "manifest.json").read_text())
    name = f"{bundle['name']}@{bundle['version']}"

    def write(slo_ms: int, count: int) -> Path:
        servers = [objects.pod(f"net-{index}", "one", service="net") for index in range(count)]
        for server in servers:
            server["metadata"]["annotations"] |= {
                keys.SLICE_CLASS_ANNOTATION: "quick/cpu:1", keys.PREDICTED_MS_ANNOTATION: "1", keys.BASIS_ANNOTATION: "measured",
                keys.BUNDLE_ANNOTATION: name, keys.PREDICTION_ID_ANNOTATION: "x",
            }  # fmt: skip
        served = objects.service("net", slo_ms, replicas={"min": count, "max": count}, **objects.on_one_core())
        served["metadata"]["generation"] = 1
        path = tmp_path / "cluster.yaml"
        path.write_text(objects.listed([objects.described(), objects.graph(), objects.node("one"), served, *servers]))
        return path

    return write


@pytest.mark.parametrize(("when", "status"), [(AFTER, 0), (BOUND_AT, 0), (BEFORE, 4)])
def test_others_who_came_after_our_binding_break_no_promise_of_ours(plugin: Run, desk: Desk, shared: Any, when: str, status: int) -> None:
    """Beside a pod that another scheduler put there later a resident over its objective is noted; beside one that was there before, broken."""
    path = shared(2, 1)
    cluster = json.loads(path.read_text())
    ours = next(item for item in cluster["items"] if item["metadata"]["name"] == "net-0")
    stranger = objects.pod("stranger", "one", cpu="1")
    for item, at in ((ours, BOUND_AT), (stranger, when)):
        item["status"]["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}]
    path.write_text(objects.listed([*cluster["items"], stranger]))
    assert plugin("audit", "--cluster", path, "--bundle", desk.bundle).status == status


def test_a_resident_over_its_objective_by_our_own_prediction_is_noticed(plugin: Run, desk: Desk, shared: Any) -> None:
    """Servers whose prediction keeps the objective pass with status 0; with one that it breaks pod, node and both numbers are named, status 4."""
    sound = plugin("audit", "--cluster", shared(60, 1), "--bundle", desk.bundle)
    assert (sound.status, sound.stdout.strip()) == (0, "every promise holds"), sound.stderr
    broken = plugin("audit", "--cluster", shared(2, 1), "--bundle", desk.bundle, "-o", "json")
    assert broken.status == 4
    assert broken.json["broken"] == 1
    (found,) = broken.json["findings"]
    assert found["invariant"] == "NoResidentOverObjective"
    assert "pod vision/net-0 on node one" in found["where"]
    assert "against its objective of 2 ms" in found["text"]
    assert plugin("audit", "--cluster", shared(2, 1), "--no-predict").status == 0

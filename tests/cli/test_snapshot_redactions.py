"""What leaves a cluster in a snapshot: enough to decide the same, and nothing that people keep secret."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from stowplan_cli.objects.redactions import redacted
from stowplan_fleet import keys
from support.cluster_objects import Object, described, graph, listed, node, on_one_core, pod, service
from support.command_lines import Desk, Run

SECRET = "s3cret"
PROBE = {"exec": {"command": ["curl", f"-H{SECRET}"]}, "httpGet": {"path": f"/?token={SECRET}", "httpHeaders": [{"name": "Authorization", "value": SECRET}]}}
CONTAINER: dict[str, Any] = {
    "name": "c", "image": "i", "command": [SECRET], "args": [f"--password={SECRET}"], "lifecycle": {"preStop": PROBE}, "livenessProbe": PROBE,
    "readinessProbe": PROBE, "startupProbe": PROBE, "envFrom": [{"prefix": SECRET}], "volumeMounts": [{"subPath": SECRET}], "workingDir": SECRET,
    "env": [{"name": "TOKEN", "value": SECRET}, {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}}],
    "resources": {"requests": {"cpu": "1"}},
}  # fmt: skip
POD_SPEC: dict[str, Any] = {
    "nodeName": "one", "containers": [CONTAINER], "initContainers": [CONTAINER], "ephemeralContainers": [CONTAINER],
    "volumes": [{"csi": {"volumeAttributes": {"password": SECRET}}}, {"configMap": {"name": SECRET}}], "imagePullSecrets": [{"name": SECRET}],
    "hostAliases": [{"hostnames": [SECRET]}], "serviceAccountName": SECRET, "nodeSelector": {"kept": "yes"},
}  # fmt: skip
METADATA: dict[str, Any] = {
    "name": "p", "namespace": "vision", "labels": {"kept": "yes"},
    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": SECRET, "vault.example.com/token": SECRET, keys.BASIS_ANNOTATION: "measured"},
    "managedFields": [{"manager": "m", "time": "2026-11-22T00:00:00Z", "fieldsV1": {SECRET: {}}}],
}  # fmt: skip
STATUS: dict[str, Any] = {
    "phase": "Running",
    "conditions": [{"type": "PodScheduled", "status": "False", "message": "kept"}, {"type": "mine", "status": "True", "message": SECRET}],
    "containerStatuses": [{"lastState": {"terminated": {"message": f"the log's last line: {SECRET}"}}}],
}
OBJECTS: dict[str, Object] = {
    "Pod": {"kind": "Pod", "metadata": METADATA, "spec": POD_SPEC, "status": STATUS},
    keys.KIND: {
        "kind": keys.KIND,
        "metadata": METADATA,
        "spec": {
            "model": {"uri": f"https://models.example.com/net.onnx?signature={SECRET}"},
            "template": {"metadata": METADATA, "spec": POD_SPEC},
            "slo": {"latencyMilliseconds": 50},
        },
        "status": {"conditions": [{"type": "Ready", "message": f"https://models.example.com/net.onnx?signature={SECRET}: 403"}]},
    },
    "Node": {
        "kind": "Node", "metadata": METADATA, "spec": {"providerID": SECRET, "unschedulable": True},
        "status": {"allocatable": {"cpu": "4"}, "images": [{"names": [SECRET]}], "nodeInfo": {"machineID": SECRET, "kubeletVersion": "v1"}},
    },
    "Secret": {"kind": "Secret", "metadata": METADATA, "data": {"password": SECRET}, "stringData": {"password": SECRET}},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(OBJECTS))
def test_a_snapshot_holds_no_secret(kind: str) -> None:
    """Of each kind nothing is left of what stood in environment, commands, probes, volumes, annotations, logs or signed addresses; the input stays."""
    item = copy.deepcopy(OBJECTS[kind])
    found = redacted(item)
    assert item == OBJECTS[kind]
    assert SECRET not in json.dumps(found)
    assert found["metadata"]["name"] == "p"


@pytest.mark.parametrize(
    "path",
    [
        "", "metadata", "spec", "status", "spec.model", "spec.template", "spec.template.metadata", "spec.template.spec", "spec.containers.0",
        "spec.template.spec.containers.0", "spec.containers.0.env.0", "metadata.managedFields.0", "metadata.ownerReferences.0", "status.conditions.0",
    ],
)  # fmt: skip
def test_a_field_that_nobody_listed_stays_in_the_cluster(path: str) -> None:
    """Kubernetes grows new fields, and people write their own: wherever one stands, it does not go out."""
    item: Object = {"kind": keys.KIND if path.startswith(("spec.model", "spec.template")) else "Pod"}
    innermost: Any = item
    steps = path.split(".") if path else []
    for step, following in zip(steps, [*steps[1:], ""], strict=False):
        made: Any = [{}] if following.isdigit() else {}
        innermost = innermost[int(step)] if step.isdigit() else innermost.setdefault(step, made)
    innermost["grown"] = SECRET
    assert SECRET not in json.dumps(redacted(item))


def test_what_the_reader_of_a_report_needs_is_there() -> None:
    """Requests, images, names of variables, the scheduler's own message, when something was written, and Stowplan's annotations."""
    found = redacted(OBJECTS["Pod"])
    (container,) = found["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "1"}}
    assert container["image"] == "i"
    assert [entry["name"] for entry in container["env"]] == ["TOKEN", "FROM"]
    assert container["env"][1]["valueFrom"] == {"secretKeyRef": {"name": "n", "key": "k"}}
    assert found["status"]["conditions"][0]["message"] == "kept"
    assert found["metadata"]["managedFields"] == [{"manager": "m", "time": "2026-11-22T00:00:00Z"}]
    assert found["metadata"]["annotations"] == {keys.BASIS_ANNOTATION: "measured"}


def test_a_snapshot_is_judged_as_the_cluster_was(run: Run, desk: Desk, tmp_path: Path) -> None:
    """Tenants, headroom, places for a further service and the audit are the same with what is left out."""
    items: list[Object] = [
        described(), graph(), node("one"), node("two", device="slow"), service("net", 60, **on_one_core()),
        pod("net-0", "one", service="net"), pod("other", "one", cpu="500m"),
    ]  # fmt: skip
    wanted = tmp_path / "services.yaml"
    wanted.write_text(listed([service("more", 60, **on_one_core())]))
    said: list[list[Any]] = []
    for name, objects in (("whole", items), ("kept", [redacted(item) for item in items])):
        path = tmp_path / f"{name}.yaml"
        path.write_text(listed(objects))
        common = ["--cluster", path, "--bundle", desk.bundle, "-o", "json"]
        said.append([run("nodes", *common).json, run("what-if", "-f", wanted, *common).json, run("audit", *common).json])
    assert said[0] == said[1]

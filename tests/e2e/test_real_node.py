"""A real node: containerd, kubelet, kube-proxy and DNS run our images, the chart as it comes, and a model server that answers.

Skipped only where a probe shows that this machine cannot carry one (no root, no control groups that can be written).
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import realnode_certificates
import realnode_installs as installs
import realnode_lifecycles as lifecycles
import realnode_probes as probes
import yaml
from controlplane_clusters import Cluster, free_ports
from realnode_images import CHART
from realnode_installs import EXAMPLE_NAMESPACE, EXAMPLE_SERVICE, EXAMPLES, SYSTEM
from realnode_lifecycles import NODE, RealNode
from realnode_probes import RealNodeImpossible
from support.audits import audit
from support.controlplane import KUBECTL_PATIENCE, apply, node, own_nodes, wait_until

# The first run builds containerd, DNS and the images: three to six minutes on two cores.
pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def possible() -> None:
    """Asked before anything is built."""
    try:
        probes.require()
    except RealNodeImpossible as reason:
        pytest.skip(f"probe: {reason}")


@pytest.fixture(scope="module")
def real(possible: None, image_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:  # noqa: ARG001 -- asked first
    """A real node with the chart's defaults, a device's descriptor and the example that serves; all of it gone at the end."""
    run_dir = tmp_path_factory.mktemp("realnode") / "node"
    found = lifecycles.up(run_dir, outlive=False, images=image_archive)
    try:
        installs.install_chart(found.cluster)
        # A made-up device, as in all end-to-end tests: what is predicted for this machine would depend on who else uses it.
        snapshot = yaml.safe_load((EXAMPLES / "cluster.yaml").read_text())
        (described,) = (item["data"] for item in snapshot["items"] if item["kind"] == "ConfigMap")
        installs.describe_device(found.cluster, json.loads(described["made-up-quick.json"]))
        installs.apply_example(found.cluster)
        installs.await_service(found.cluster, 180)
        yield found
    finally:
        assert lifecycles.down(run_dir) == []


@pytest.fixture(scope="module")
def pod(real: RealNode) -> dict[str, Any]:
    """The example's pod."""
    (only,) = real.cluster.get("pods", "-n", EXAMPLE_NAMESPACE, "-l", f"stowplan.dev/inference-service={EXAMPLE_SERVICE}")["items"]
    found: dict[str, Any] = only
    return found


@pytest.fixture(scope="module")
def server(real: RealNode) -> Iterator[str]:
    """URL of the example's server, reached as a user reaches it."""
    (port,) = free_ports(1)
    with forwarding(real.cluster, port) as url:
        yield url


@contextlib.contextmanager
def forwarding(cluster: Cluster, port: int) -> Iterator[str]:
    target = ["-n", EXAMPLE_NAMESPACE, "port-forward", f"service/{EXAMPLE_SERVICE}", f"{port}:80"]
    command = [str(cluster.binaries.path("kubectl")), f"--kubeconfig={cluster.kubeconfig()}", *target]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: get(f"http://127.0.0.1:{port}/v2/health/live"), 30, "kubectl port-forward leads nowhere")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def get(url: str) -> str:
    """The body; empty while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 -- our own http URL
            body: bytes = answer.read()
            return body.decode()
    except (OSError, urllib.error.URLError):
        return ""


def infer(url: str, shape: list[int], data: list[float]) -> tuple[int, dict[str, Any]]:
    """Status and body of one inference."""
    (described,) = json.loads(get(f"{url}/v2/models/squeezenet"))["inputs"]
    body = json.dumps({"inputs": [{"name": described["name"], "datatype": described["datatype"], "shape": shape, "data": data}]}).encode()
    request = urllib.request.Request(f"{url}/v2/models/squeezenet/infer", body, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def pods_of_release(real: RealNode) -> list[dict[str, Any]]:
    """Those of Deployments; `helm test` leaves some of its own."""
    return [item for item in real.cluster.get("pods", "-n", SYSTEM)["items"] if item["metadata"].get("ownerReferences")]


def ready_components(real: RealNode) -> dict[str, bool]:
    """Whether all containers of each component are ready."""
    found = {item["metadata"]["labels"]["app.kubernetes.io/component"]: item["status"].get("containerStatuses", []) for item in pods_of_release(real)}
    return {name: bool(statuses) and all(status["ready"] for status in statuses) for name, statuses in found.items()}


def test_the_chart_runs_as_it_comes(real: RealNode) -> None:
    """Every pod of the release is ready on the real node with our images and the chart's defaults, and `helm test` passes, names and services included."""
    wait_until(lambda: ready_components(real) == {"predictor": True, "operator": True, "scheduler": True}, 0, lambda: f"all ready: {ready_components(real)}")
    assert {item["spec"]["nodeName"] for item in pods_of_release(real)} == {NODE}
    said = installs.helm(real.cluster, "test", "stowplan", "-n", SYSTEM, "--timeout", "300s", "--logs")
    assert re.search(r"Phase:\s+Succeeded", said)


def test_the_predictor_answers_only_who_shows_a_certificate(real: RealNode) -> None:
    """From the predictor's own pod: a call in the clear, and one with TLS that shows nothing, get no answer; `helm test` above, with the operator's, does."""
    name = f"stowplan-predictor.{SYSTEM}.svc"
    program = (
        "import grpc, pathlib\n"
        "ca = pathlib.Path('/etc/stowplan/tls/ca.crt').read_bytes()\n"
        "opened = [grpc.insecure_channel('127.0.0.1:50051'), grpc.secure_channel('127.0.0.1:50051', grpc.ssl_channel_credentials(ca), "
        f"(('grpc.ssl_target_name_override', '{name}'),))]\n"
        "for channel in opened:\n"
        "    try:\n"
        "        channel.unary_unary('/stowplan.predictor.v1.PredictorService/DescribeBundle')(b'', timeout=10)\n"
        "    except grpc.RpcError as error: print(error.code().name)\n"
    )
    said = real.cluster.kubectl("exec", "-n", SYSTEM, "deployment/stowplan-predictor", "--", "python", "-c", program)
    assert said.split() == ["UNAVAILABLE", "UNAVAILABLE"]


def test_certificates_change_without_a_restart(real: RealNode) -> None:
    """An upgrade issues other ones; the kubelet swaps the files, all three processes take them up, and the same pods answer `helm test`."""

    def restarts() -> dict[str, int]:
        pods = real.cluster.get("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component in (predictor, operator, scheduler)")["items"]
        return {item["metadata"]["name"]: sum(status["restartCount"] for status in item["status"]["containerStatuses"]) for item in pods}

    def renewed() -> bool:
        # A change of the pod makes the kubelet look at its volumes now, and not within two minutes.
        real.cluster.kubectl("annotate", "pods", "-n", SYSTEM, "-l", "app.kubernetes.io/instance=stowplan", f"looked={time.monotonic_ns()}", "--overwrite")
        logs = (real.cluster.kubectl("logs", "-n", SYSTEM, name, "--all-containers") for name in before)
        return all("certificates renewed" in log for log in logs)

    before = restarts()
    installs.helm(real.cluster, "upgrade", "stowplan", str(CHART), "-n", SYSTEM, "--set", "tls.generated.days=365")
    wait_until(renewed, 180, "the renewed certificates are not taken up")
    assert re.search(r"Phase:\s+Succeeded", installs.helm(real.cluster, "test", "stowplan", "-n", SYSTEM, "--timeout", "300s"))
    assert restarts() == before


def test_a_request_is_answered_by_onnx_runtime(server: str) -> None:
    """A picture goes in, a thousand class scores come out, and the server's own histograms count it."""
    shape = [1, 3, 224, 224]
    status, answer = infer(server, shape, [0.5] * (3 * 224 * 224))
    (output,) = answer["outputs"]
    metrics = get(f"{server}/metrics")

    assert status == 200
    assert len(output["data"]) == 1000
    assert sum(output["data"]) == pytest.approx(1, abs=0.01)  # the network ends in a softmax
    for part in ("request", "queue", "inference"):
        counted = re.search(rf'model_server_{part}_duration_seconds_count{{model="squeezenet"}} (\S+)', metrics)
        assert counted is not None
        assert float(counted[1]) >= 1
    # The objective is a bucket, so that the share of requests within it can be read off.
    assert 'model_server_request_duration_seconds_bucket{le="2.0",model="squeezenet"}' in metrics
    refused, complaint = infer(server, [1, 3, 2, 2], [0.5] * 12)
    assert refused == 400
    assert "the model takes [1, 3, 224, 224]" in complaint["error"]


def test_the_kernel_enforces_the_slice(real: RealNode, pod: dict[str, Any]) -> None:
    """The quota of the pod's control group is the chosen slice class, which the pod was told too."""
    service = real.cluster.get("inferenceservice", EXAMPLE_SERVICE, "-n", EXAMPLE_NAMESPACE)
    told = real.cluster.kubectl(
        "exec", "-n", EXAMPLE_NAMESPACE, pod["metadata"]["name"], "--", "python", "-c", "import os; print(os.environ['STOWPLAN_SLICE'])"
    )

    assert service["status"]["sliceClass"] == "this-machine/cpu:500m"
    assert real.groups.cpu_quota(pod["metadata"]["uid"]) == pytest.approx(0.5)
    assert told.strip().endswith("cpu:500m")


def test_the_pod_was_placed_by_our_scheduler_with_a_prediction(real: RealNode, pod: dict[str, Any]) -> None:
    """kube-scheduler as the chart runs it asked the extender beside it; the binding says what was predicted; no promise of the cluster is broken."""
    annotations = pod["metadata"]["annotations"]
    assert pod["spec"]["schedulerName"] == "stowplan"
    assert annotations["stowplan.dev/slice"].endswith("cpu:500m")
    predicted = next(value for name, value in annotations.items() if "predicted" in name)
    assert 0 < float(re.findall(r"[\d.]+", predicted)[0]) < 2000
    assert audit(real.cluster) == []


def test_our_processes_are_nobody_on_a_read_only_root(real: RealNode) -> None:
    """In each of our containers: the numbered user, a root file system that refuses writes, and no torch."""
    program = (
        "import importlib.util, os, pathlib\n"
        "try:\n    pathlib.Path('/new').touch(); wrote = True\nexcept OSError: wrote = False\n"
        "print(os.getuid(), wrote, importlib.util.find_spec('torch'))"
    )
    for component, container in (("predictor", "predictor"), ("operator", "operator"), ("scheduler", "extender")):
        said = real.cluster.kubectl("exec", "-n", SYSTEM, f"deployment/stowplan-{component}", "-c", container, "--", "python", "-c", program)
        assert said.split() == ["65532", "False", "None"], component


def test_played_nodes_stand_beside_the_real_one(real: RealNode) -> None:
    """Kwok plays nodes with its label and leaves the real one alone."""
    played = node("played-1", "4", {"type": "kwok"})
    played["spec"] = {"taints": [{"key": "played", "effect": "NoSchedule"}]}
    container = {"name": "it", "image": "example.com/it"}
    spec = {"containers": [container], "nodeSelector": {"type": "kwok"}, "tolerations": [{"key": "played"}]}
    with own_nodes(real.cluster, played):
        apply(real.cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "played", "namespace": EXAMPLE_NAMESPACE}, "spec": spec})
        real.cluster.kubectl("wait", "--for=condition=Ready", KUBECTL_PATIENCE, "-n", EXAMPLE_NAMESPACE, "pod/played")
        real.cluster.kubectl("delete", "pod", "played", "-n", EXAMPLE_NAMESPACE, KUBECTL_PATIENCE)
    annotations = real.cluster.get("node", NODE)["metadata"].get("annotations", {})
    assert not any(name.startswith("kwok.x-k8s.io") for name in annotations)


def test_a_node_that_is_killed_leaves_nothing(real: RealNode, image_archive: Path, tmp_path: Path) -> None:
    """A second node beside the first; its first process is killed, as a crash would; its processes, link, groups, mounts and files go, the first one's stay."""
    before = machine()
    run_dir = tmp_path / "killed"
    killed = lifecycles.up(run_dir, outlive=False, images=image_archive)
    inside = int((run_dir / "inside.pid").read_text())
    assert machine() != before
    os.kill(inside, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{inside}").exists(), 10, "the node's first process lives on")

    assert lifecycles.down(run_dir) == []
    assert not run_dir.exists()
    wait_until(lambda: machine() == before, 10, lambda: f"before: {before}; after: {machine()}")
    assert killed.groups.name != real.groups.name
    assert real.cluster.get("node", NODE)


def test_a_node_that_cannot_start_leaves_nothing(real: RealNode, image_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that fails half-way names the reason and takes everything away again."""
    before = machine()

    def broken(*_: object) -> None:
        raise RuntimeError("no certificates today")

    monkeypatch.setattr(realnode_certificates, "make", broken)
    with pytest.raises(RuntimeError, match="no certificates today"):
        lifecycles.up(tmp_path / "broken", outlive=False, images=image_archive)
    assert machine() == before
    assert not (tmp_path / "broken").exists()
    assert real.cluster.get("node", NODE)


def machine() -> dict[str, Any]:
    """What a node could leave on the machine, or change."""
    links = sorted(path.name for path in Path("/sys/class/net").iterdir())
    groups = sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/stowplan*"))
    mounts = sorted(line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    settings = {
        name: (Path("/proc/sys") / name).read_text() for name in ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    }
    folders = [name for name in ("/var/lib/kubelet", "/var/lib/cni", "/run/containerd") if Path(name).exists()]
    return {"links": links, "groups": groups, "mounts": mounts, "settings": settings, "folders": folders}

"""A thousand InferenceServices from cold: how long until each has its rung and its Deployment, and what the operator takes for it.

`python bench/operator_services.py [--services N] [--runs N] [--json FILE]`. Real etcd, API server, predictor with the shipped bundle, and the operator as users
start it, all on the cores of this machine. No controllers run, so nobody makes pods and nothing else works beside what is measured; nodes are plain objects.
The services share a few graphs (a cluster of a thousand services has fewer networks than services), in a namespace for each hundred.

Per run: from the operator's start, all services being there, until the last one has a condition and a Deployment; then the processor time of a minute
(`--idle-s`) in which nothing happens, and whether memory grows in it.
"""

import argparse
import base64
import json
import os
import ssl
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "tests")]

import controlplane_parts as parts  # noqa: E402 -- the path comes first
import yaml  # noqa: E402
from controlplane_binaries import ensure  # noqa: E402
from controlplane_clusters import ADMIN, Cluster  # noqa: E402
from stowplan_fleet import keys  # noqa: E402
from support import components  # noqa: E402

from bench.parts import figures as figures_  # noqa: E402

IN_ONE_NAMESPACE: Final = 100
NODES: Final = 20
DEADLINE_S: Final = 600.0
BARS: Final = {"reconciled_s": 300.0, "peak_mb": 500.0}


class Client:
    """The API server, from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._url, self._token = cluster.url, cluster.tokens[ADMIN]
        self._tls = ssl.create_default_context(cafile=str(cluster.ca_file))

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = "application/json") -> Any:  # noqa: ANN401 -- raw JSON
        """One request."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        request = urllib.request.Request(f"{self._url}{path}", data=data, method=method, headers=headers)  # noqa: S310 -- our own https URL
        with urllib.request.urlopen(request, timeout=60, context=self._tls) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def cluster_of(services: int, folder: Path) -> Iterator[tuple[Cluster, Client]]:
    """A cluster in which everything but the operator is there."""
    cluster = Cluster(ensure(), folder)
    try:
        parts.start_apiserver(cluster)
        cluster.kubectl("apply", "-f", str(components.CRD))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/inferenceservices.stowplan.dev")
        client = Client(cluster)
        client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": components.SYSTEM_NAMESPACE}})
        components.install_accounts(cluster)
        furnish(client, services)
        yield cluster, client
    finally:
        cluster.stop_all()


def furnish(client: Client, services: int) -> None:
    """Descriptors, nodes, models and services."""
    snapshot = yaml.safe_load((ROOT / "examples" / "cluster.yaml").read_text())
    (described,) = (item for item in snapshot["items"] if keys.DESCRIPTORS_LABEL in item["metadata"].get("labels", {}))
    metadata = {"name": "devices", "labels": described["metadata"]["labels"]}
    client.ask("POST", f"/api/v1/namespaces/{components.SYSTEM_NAMESPACE}/configmaps", {"metadata": metadata, "data": described["data"]})
    devices = sorted(key.removesuffix(".json") for key in described["data"])
    for index in range(NODES):
        name = f"node-{index}"
        client.ask("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": {keys.DEVICE_LABEL: devices[index % len(devices)]}}})
        status = {"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"}, "conditions": [{"type": "Ready", "status": "True"}]}
        client.ask("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, "application/merge-patch+json")
        client.ask("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}}, "application/merge-patch+json")
    models = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in sorted((ROOT / "examples" / "models").glob("*.onnx"))}
    for number in range(-(-services // IN_ONE_NAMESPACE)):
        client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": f"team-{number}"}})
        for model, content in models.items():
            client.ask("POST", f"/api/v1/namespaces/team-{number}/configmaps", {"metadata": {"name": f"{model}-graph"}, "binaryData": {"model.onnx": content}})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: put_service(client, index, sorted(models)), range(services)))


def put_service(client: Client, index: int, models: list[str]) -> None:
    """One service; objectives, rates and replicas differ."""
    spec = {
        "model": {"uri": f"configmap://{models[index % len(models)]}-graph/model.onnx"},
        "slo": {"latencyMilliseconds": 200 + 50 * (index % 37)},
        "load": {"requestsPerSecond": 1 + index % 7},
        "replicas": {"min": 1, "max": 4},
        "template": {"spec": {"containers": [{"name": "server", "image": "example.com/server:1", "resources": {"limits": {"memory": "1Gi"}}}]}},
    }
    body = {"apiVersion": f"{keys.GROUP}/{keys.VERSION}", "kind": keys.KIND, "metadata": {"name": f"service-{index}"}, "spec": spec}
    client.ask("POST", f"/apis/{keys.GROUP}/{keys.VERSION}/namespaces/team-{index // IN_ONE_NAMESPACE}/{keys.PLURAL}", body)


def looked_after(client: Client) -> int:
    """Services with conditions of their present generation, and a Deployment where a rung was chosen."""
    deployments = client.ask("GET", "/apis/apps/v1/deployments")["items"]
    made = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in deployments}
    done = 0
    for item in client.ask("GET", f"/apis/{keys.GROUP}/{keys.VERSION}/{keys.PLURAL}")["items"]:
        status, metadata = item.get("status") or {}, item["metadata"]
        told = status.get("observedGeneration") == metadata["generation"]
        done += told and ("sliceClass" not in status or (metadata["namespace"], metadata["name"]) in made)
    return done


def one_run(services: int, idle_s: float) -> figures_.Figures:
    """Cold operator, cold predictor."""
    with tempfile.TemporaryDirectory() as folder, cluster_of(services, Path(folder)) as (cluster, client):
        predictor_port = components.start_predictor(cluster)
        operator = components.operator(cluster, predictor_port, "stowplan-operator")
        began = time.monotonic()
        operator.start(wait=False)
        while (done := looked_after(client)) < services:
            if time.monotonic() - began > DEADLINE_S:
                raise TimeoutError(f"{done} of {services} services were looked after within {DEADLINE_S:g} s; see {cluster.log(operator.name)}")
            time.sleep(1)
        took_s = time.monotonic() - began
        process = Path(f"/proc/{cluster.processes[operator.name]}")
        busy_s, held_mb = cpu_s(process), status_mb(process, "VmRSS")
        time.sleep(idle_s)
        return {
            "reconciled_s": took_s,
            "services_per_s": services / took_s,
            "cpu_ms_per_service": 1000 * busy_s / services,
            "chosen": sum(
                "sliceClass" in (item.get("status") or {}) for item in client.ask("GET", f"/apis/{keys.GROUP}/{keys.VERSION}/{keys.PLURAL}")["items"]
            ),
            "writes_per_service": operator.metric("stowplan_operator_writes_total") / services,
            "idle_cores": (cpu_s(process) - busy_s) / idle_s,
            "idle_growth_mb": status_mb(process, "VmRSS") - held_mb,
            "peak_mb": status_mb(process, "VmHWM"),
        }


def cpu_s(process: Path) -> float:
    """Time on a core so far."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_mb(process: Path, field: str) -> float:
    """A size from the kernel's status of a process, in megabytes of 10^6 bytes."""
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith(f"{field}:"))
    return (int(line.split()[1]) << 10) / 1e6


def main() -> None:
    """Runs, prints, and writes where told to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--idle-s", type=float, default=60.0, help="how long to watch it when all is done")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    runs = [one_run(options.services, options.idle_s) for _ in range(options.runs)]
    rows = figures_.table(runs)
    for row in rows:
        bar = BARS.get(str(row["figure"])) if options.services == 1000 else None
        if bar is not None:
            row |= {"wanted": f"<= {bar:g}", "holds": float(str(row["median"])) <= bar}
    found = {**figures_.facts("shipped", load), "services": options.services, "runs": options.runs, "idleSeconds": options.idle_s, "nodes": NODES, "rows": rows}
    text = json.dumps(found, indent=1)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""The parts of a control plane and how each is started: etcd, API server, controller manager, kwok, schedulers.

The flags are those that make a real control plane small and quick to start on one machine; each that is not obvious says why.
"""

import json
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from controlplane_binaries import Binaries
from controlplane_clusters import USERS, Cluster, free_ports
from controlplane_errors import StartFailed

# The marker resource of our pods (`stowplan_fleet.keys.MARKER_RESOURCE`; this file imports nothing that has to be installed).
MARKER_RESOURCE: Final = "stowplan.dev/slo"


def start_apiserver(
    cluster: Cluster, users: dict[str, str] | None = None, *, address: str = "127.0.0.1", flags: Mapping[str, str | Path] | None = None
) -> None:
    """Starts etcd and the API server, and waits until it is ready.

    Args:
        cluster: where to.
        users: further users of the token file, with their groups (comma-separated).
        address: where it listens, and is reached.
        flags: further flags of the API server, or other values of those set here, without their dashes.

    Raises:
        StartFailed: one of them ended, or was not ready in time.
    """
    run_dir, binaries = cluster.run_dir, cluster.binaries
    (run_dir / "certs").mkdir(parents=True, exist_ok=True)
    client_port, peer_port, api_port = free_ports(3)
    etcd = f"http://127.0.0.1:{client_port}"
    cluster.start(
        "etcd",
        [
            binaries.path("etcd"),
            f"--data-dir={run_dir / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            "--unsafe-no-fsync",  # nothing here has to survive a power cut
            "--log-level=warn",
        ],
    )
    everyone = {**USERS, **(users or {})}
    cluster.tokens = {user: secrets.token_hex(16) for user in everyone}
    rows = [f'{cluster.tokens[user]},{user},{user},"{groups}"' for user, groups in everyone.items()]
    (run_dir / "tokens.csv").write_text("\n".join(rows) + "\n")
    key = service_account_key(binaries, run_dir)
    cluster.url = f"https://{address}:{api_port}"
    everything: dict[str, str | Path] = {
        "etcd-servers": etcd,
        "bind-address": address,
        "secure-port": str(api_port),
        "cert-dir": run_dir / "certs",
        "service-cluster-ip-range": "10.0.0.0/16",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-account-issuer": "https://kubernetes.default.svc",
        "token-auth-file": run_dir / "tokens.csv",
        "authorization-mode": "RBAC",
        "allow-privileged": "true",
        "endpoint-reconciler-type": "none",  # 127.0.0.1 may not be an endpoint of the service `kubernetes`
        "enable-priority-and-fairness": "false",  # on two busy cores it makes clients wait for each other
        **(flags or {}),
    }
    cluster.start("kube-apiserver", [binaries.path("kube-apiserver"), *(f"--{name}={value}" for name, value in everything.items())])
    for user, token in cluster.tokens.items():
        cluster.write_kubeconfig(user, token)
    cluster.await_ready("kube-apiserver", lambda: cluster.answers("/readyz"))


def start_controller_manager(cluster: Cluster) -> None:
    """Starts the controllers: deployments, service accounts, namespaces, garbage collection."""
    cluster.start(
        "kube-controller-manager",
        [
            cluster.binaries.path("kube-controller-manager"),
            f"--kubeconfig={cluster.kubeconfig()}",
            f"--service-account-private-key-file={cluster.run_dir / 'service-account.key'}",
            f"--root-ca-file={cluster.ca_file}",
            "--leader-elect=false",
            "--secure-port=0",
        ],
    )


def start_kwok(cluster: Cluster, selector: str | None = None) -> None:
    """Starts kwok, which plays the kubelets of all nodes, or of those that a label selector picks (where a real node lives beside them)."""
    stages = [f"--config={stage}" for stage in cluster.binaries.stages]
    nodes = ["--manage-all-nodes=true"] if selector is None else ["--manage-all-nodes=false", f"--manage-nodes-with-label-selector={selector}"]
    cluster.start("kwok", [cluster.binaries.path("kwok"), f"--kubeconfig={cluster.kubeconfig()}", *nodes, *stages])


def scheduler_configuration(scheduler_name: str, kubeconfig: Path, extender_url: str | None) -> dict[str, Any]:
    """A KubeSchedulerConfiguration; with an extender's URL the one our chart installs, without it the default one under that name."""
    configuration: dict[str, Any] = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "leaderElection": {"leaderElect": False},
        "profiles": [{"schedulerName": scheduler_name}],
    }
    if extender_url is not None:
        configuration["percentageOfNodesToScore"] = 100  # a selective filter must see every node
        # The preemption dry run does not ask extenders: it would evict pods for a place that is then refused.
        configuration["profiles"][0]["plugins"] = {"postFilter": {"disabled": [{"name": "DefaultPreemption"}]}}
        configuration["extenders"] = [
            {
                "urlPrefix": extender_url,
                "filterVerb": "filter",
                "prioritizeVerb": "prioritize",
                "bindVerb": "bind",
                "weight": 10,
                "httpTimeout": "2s",
                "nodeCacheCapable": True,
                "ignorable": False,
                "managedResources": [{"name": MARKER_RESOURCE, "ignoredByScheduler": True}],
            }
        ]
    return configuration


def start_scheduler(cluster: Cluster, scheduler_name: str, extender_url: str | None = None) -> None:
    """Starts an unmodified kube-scheduler that serves pods of that scheduler name, with our extender where a URL is given."""
    name = f"kube-scheduler-{scheduler_name}"
    configuration = cluster.run_dir / f"{name}.json"
    configuration.write_text(json.dumps(scheduler_configuration(scheduler_name, cluster.kubeconfig("system:kube-scheduler"), extender_url), indent=1))
    cluster.start(name, [cluster.binaries.path("kube-scheduler"), f"--config={configuration}", "--secure-port=0", "-v=2"])


def service_account_key(binaries: Binaries, run_dir: Path) -> Path:
    """A fresh private key for service account tokens.

    Helm makes it, by a function of its templates: it is one of our programs, and the standard library cannot.

    Raises:
        StartFailed: helm could not.
    """
    chart, path = run_dir / "key-chart", run_dir / "service-account.key"
    (chart / "templates").mkdir(parents=True, exist_ok=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: key\nversion: 0.0.1\n")
    (chart / "templates" / "key.yaml").write_text('key: {{ genPrivateKey "ecdsa" | quote }}\n')
    run = subprocess.run([binaries.path("helm"), "template", "key", str(chart)], capture_output=True, text=True, check=False)
    line = next((line for line in run.stdout.splitlines() if line.startswith("key: ")), None)
    if run.returncode != 0 or line is None:
        raise StartFailed(f"helm made no key: {run.stderr.strip() or run.stdout.strip()}")
    path.touch(mode=0o600)
    path.write_text(json.loads(line.removeprefix("key: ")))
    return path

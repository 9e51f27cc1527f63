"""Replicas of the scheduler's pod: a scheduler with leader election and an extender beside it that reads the same Lease, as the chart installs them."""

import contextlib
import json
import os
import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import controlplane_parts as parts
from controlplane_clusters import Cluster
from support import components
from support.components import SYSTEM_NAMESPACE, Extender
from support.controlplane import apply, wait_until
from support.stages import Stage
from support.weathers import Weather

LEASE = "stowplan-scheduler"
# client-go's own times (15, 10 and 2 s), shortened as far as a busy machine allows: who does not renew in time ends by itself.
TIMES = {"leaseDuration": "9s", "renewDeadline": "7s", "retryPeriod": "1s"}
# Where it may end by itself, because it is started again: as soon as a dead one's Lease may be taken.
SHORT_TIMES = {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "1s"}


def replica(stage: Stage, name: str, weather: Weather, *, times: Mapping[str, str] = TIMES, server: str = "", supervised: bool = False) -> Extender:
    """A scheduler and an extender as two containers of a pod of that name: the scheduler's host name is the pod's.

    Args:
        stage: where.
        name: of the pod.
        weather: the extender's.
        times: of the leader election.
        server: whom the scheduler takes for the API server, in place of the API server itself.
        supervised: it is started again whenever it ends, as a kubelet does it.
    """
    cluster = stage.cluster
    lease = {"LEASE_NAME": LEASE, "LEASE_NAMESPACE": SYSTEM_NAMESPACE, "LEASE_POD_NAME": name, "LEASE_CACHE_S": "0.5"}
    settings = {f"STOWPLAN_EXTENDER_{key}": value for key, value in lease.items()}
    extender = components.extender(cluster, stage.predictor_port, "stowplan-scheduler", weather.url, name=f"extender-{name}", more=settings)
    extender.start()
    extender.mark()
    kubeconfig = components.kubeconfig_of(cluster, "system:kube-scheduler", f"scheduler-{name}", server)
    configuration = parts.scheduler_configuration("stowplan", kubeconfig, f"http://127.0.0.1:{extender.port}")
    if server:
        configuration["clientConnection"] |= {"contentType": "application/json", "acceptContentTypes": "application/json"}  # weather knows lines only
    configuration["leaderElection"] = {"leaderElect": True, "resourceName": LEASE, "resourceNamespace": SYSTEM_NAMESPACE, **times}
    file = cluster.run_dir / f"scheduler-{name}.json"
    file.write_text(json.dumps(configuration))
    command = shlex.join([str(cluster.binaries.path("kube-scheduler")), f"--config={file}", "--secure-port=0", "-v=2"])
    start = f"hostname {name} && " + (f"while :; do setpriv --pdeathsig KILL {command}; sleep 0.2; done" if supervised else f"exec {command}")
    cluster.start(f"scheduler-{name}", ["unshare", "--uts", "sh", "-c", start])
    return extender


def kill_supervised(cluster: Cluster, name: str) -> bool:
    """Kills the scheduler of a supervised replica, which is started again; False where there is none at the moment."""
    pid = cluster.processes[f"scheduler-{name}"]
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):  # it may end by itself just now
            if Path(f"/proc/{child}/comm").read_text().strip() == "kube-scheduler":
                os.kill(int(child), signal.SIGKILL)
                return True
    return False


def leader(cluster: Cluster) -> str:
    """The pod that the Lease names."""
    found = cluster.kubectl("get", "lease", LEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
    return found.rpartition("_")[0]


@contextmanager
def two_replicas(stage: Stage, weather: Weather) -> Iterator[dict[str, Extender]]:
    """Two schedulers with their extenders in place of the one of the other tests; `pod-a` leads."""
    with alone(stage.cluster) as found:
        for name in ("pod-a", "pod-b"):
            found[name] = replica(stage, name, weather)
            wait_until(lambda: leader(stage.cluster) == "pod-a", 20, "pod-a leads")
        yield found


@contextmanager
def supervised_replica(stage: Stage, weather: Weather, server: str) -> Iterator[Extender]:
    """One replica, `pod-a`, whose scheduler is started again whenever it ends, in place of the one of the other tests; `server` as in `replica`."""
    with alone(stage.cluster) as found:
        found["pod-a"] = replica(stage, "pod-a", weather, times=SHORT_TIMES, server=server, supervised=True)
        wait_until(lambda: leader(stage.cluster) == "pod-a", 20, "pod-a leads")
        yield found["pod-a"]


@contextmanager
def alone(cluster: Cluster) -> Iterator[dict[str, Extender]]:
    """No scheduler but the replicas that a test adds here by name; afterwards the one of the other tests again, and none of them."""
    rights = [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "leases", "namespace": SYSTEM_NAMESPACE},
         "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "leases", "namespace": SYSTEM_NAMESPACE},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leases"},
         "subjects": [{"kind": "User", "name": "system:kube-scheduler"}]},
    ]  # fmt: skip
    apply(cluster, *rights)
    cluster.kubectl("delete", "lease", LEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found")
    cluster.stop("kube-scheduler-stowplan", kill=True)
    found: dict[str, Extender] = {}
    try:
        yield found
    finally:
        for name in found:
            cluster.stop(f"scheduler-{name}", kill=True)
            cluster.stop(f"extender-{name}", kill=True)
        cluster.start_again("kube-scheduler-stowplan")

"""The first process of a real node's own namespaces: `python realnode_inside.py RUN_DIR`, started by `realnode_lifecycles`.

It lays out mounts and network, starts the control plane and the node's programs, and then does what a first process must: reap. When it dies, the kernel
ends everything in its process namespace, and mounts and network go with theirs.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import controlplane_parts as parts
import realnode_configurations as configurations
import realnode_programs
from controlplane_binaries import ensure
from controlplane_clusters import Cluster
from controlplane_errors import ControlPlaneError

# Kernel settings of the whole machine that kubelet insists on and would write: it is shown files that already agree.
_SYSCTLS: Final = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
_LINK_TIMEOUT_S: Final = 10.0


def main(run_dir: Path) -> int:
    """Starts everything, says so in `ready.json`, and reaps until it is killed."""
    plan = json.loads((run_dir / "plan.json").read_text())
    try:
        os.environ["PATH"] = f"{run_dir}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        lay_out_mounts(run_dir, plan["node"])
        lay_out_network(plan["link"], plan["address"])
        cluster = start(run_dir, plan)
    except (ControlPlaneError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    names = {pid: name for name, pid in cluster.processes.items()}
    (run_dir / "ready.json").write_text(json.dumps({"url": cluster.url}))
    reap(names)
    return 0


def lay_out_mounts(run_dir: Path, node: str) -> None:
    """Own /run, /var/log and /var/lib (a layer over the machine's), own view of the network devices in /sys, cgroups as they are."""
    _do("hostname", node)
    _do("mount", "-t", "tmpfs", "tmpfs", "/run")
    for folder in ("/run/lock", "/run/netns", "/run/layers/upper", "/run/layers/work", "/run/sysctls", "/run/groups"):
        Path(folder).mkdir(parents=True)
    _do("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/var/lib,upperdir=/run/layers/upper,workdir=/run/layers/work", "/var/lib")
    for source, target in (("kubelet", "/var/lib/kubelet"), ("pod-logs", "/var/log")):
        (run_dir / source).mkdir()
        Path(target).mkdir(exist_ok=True)
        _do("mount", "--bind", str(run_dir / source), target)
    _do("mount", "--rbind", "/sys/fs/cgroup", "/run/groups")
    _do("mount", "-t", "sysfs", "sysfs", "/sys")
    _do("mount", "--rbind", "/run/groups", "/sys/fs/cgroup")
    _do("umount", "-l", "/run/groups")
    # Only now shared, as kubelet wants it: with shared parents the umount above would have taken the cgroups along.
    _do("mount", "--make-rshared", "/")
    for name, value in _SYSCTLS.items():
        shown = Path("/run/sysctls") / name.replace("/", "_")
        shown.write_text(f"{value}\n")
        _do("mount", "--bind", str(shown), f"/proc/sys/{name}")


def lay_out_network(link: str, address: str) -> None:
    """Loopback, and the link that the outside pushed in. There is no default route: nothing can leave."""
    _do("ip", "link", "set", "lo", "up")
    deadline = time.monotonic() + _LINK_TIMEOUT_S
    while not Path(f"/sys/class/net/{link}").exists():
        if time.monotonic() > deadline:
            raise ControlPlaneError(f"the network device {link} did not arrive")
        time.sleep(0.02)
    _do("ip", "address", "add", f"{address}/30", "dev", link)
    _do("ip", "link", "set", link, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # Services have addresses that nobody holds: a packet from here needs some route to come as far as kube-proxy's rules.
    _do("ip", "route", "add", configurations.SERVICES_CIDR, "dev", "lo", "src", address)


def start(run_dir: Path, plan: dict[str, str]) -> Cluster:
    """Starts the control plane and the node's programs.

    Raises:
        StartFailed: one of them ended, or was not ready in time.
    """
    programs, node, address = realnode_programs.ensure(), plan["node"], plan["address"]
    cluster = Cluster(ensure(), run_dir, outlive=True)
    pki = run_dir / "pki"
    settings = run_dir / "settings"
    configurations.write(run_dir / "cni" / "10-pods.conflist", configurations.network())
    containerd = configurations.write(settings / "containerd.toml", configurations.containerd(run_dir, programs.path("runc"), programs.plugins))
    cluster.start("containerd", [programs.path("containerd"), "--config", containerd], {"PATH": f"{programs.plugins}:{os.environ['PATH']}"})
    user = f"system:node:{node}"
    parts.start_apiserver(
        cluster,
        {user: "system:nodes", "system:kube-proxy": ""},
        address=address,
        flags={
            "bind-address": "0.0.0.0",  # noqa: S104 -- of a network namespace of its own
            "advertise-address": address,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "endpoint-reconciler-type": "lease",
            "service-cluster-ip-range": configurations.SERVICES_CIDR,
            "kubelet-certificate-authority": pki / "ca.crt",
            "kubelet-client-certificate": pki / "apiserver.crt",
            "kubelet-client-key": pki / "apiserver.key",
            "kubelet-preferred-address-types": "InternalIP",
        },
    )
    parts.start_controller_manager(cluster)
    parts.start_scheduler(cluster, "default-scheduler")
    parts.start_kwok(cluster, configurations.KWOK_SELECTOR)
    control = [str(programs.path("ctr")), "--address", str(configurations.CONTAINERD_SOCKET), "--namespace", "k8s.io"]
    cluster.await_ready("containerd", lambda: subprocess.run([*control, "version"], capture_output=True, check=False).returncode == 0)
    _do(*control, "images", "import", "--local", plan["images"])
    kubelet = configurations.write(settings / "kubelet.json", configurations.kubelet(run_dir, plan["cgroup"]))
    kubelet_flags = [f"--config={kubelet}", f"--kubeconfig={cluster.kubeconfig(user)}", f"--hostname-override={node}", f"--node-ip={address}"]
    cluster.start("kubelet", [cluster.binaries.path("kubelet"), *kubelet_flags, "--node-labels=stowplan.dev/real=true"])
    proxy = configurations.write(settings / "kube-proxy.json", configurations.kube_proxy(cluster.kubeconfig("system:kube-proxy"), node))
    cluster.start("kube-proxy", [cluster.binaries.path("kube-proxy"), f"--config={proxy}"], {"PATH": f"{programs.path('nft').parent}:{os.environ['PATH']}"})
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": configurations.dns()}))
    return cluster


def reap(names: dict[int, str]) -> None:
    """Collects whoever dies, and says so where it is one of ours."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return  # all of ours are dead
        if pid in names:
            sys.stderr.write(f"{names[pid]} ended with status {os.waitstatus_to_exitcode(status)}\n")
            sys.stderr.flush()


def _do(*command: str) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise ControlPlaneError(f"`{' '.join(command)}` ended with status {run.returncode}: {run.stderr.strip()[-1000:]}")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""A real node from outside: up, found again, down. Everything of it lies in one run folder and in namespaces of its own.

What it leaves on the machine while it runs: its processes, one end of a network link, its control groups, and the run folder. `down` removes all of them
and says what it could not.
"""

import ctypes
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import realnode_certificates
import realnode_cgroups
import realnode_images
import realnode_probes
import realnode_programs
from controlplane_binaries import ensure
from controlplane_clusters import Cluster
from controlplane_errors import ControlPlaneError, StartFailed

NODE: Final = "real-1"
# The archive of a node's images, in its run folder.
IMAGES: Final = "images.tar"
# Links between this machine and its nodes: of TEST-NET-like private space that is rarely used; four addresses each.
_LINKS: Final = ipaddress.ip_network("172.31.254.0/23")
# Starting takes ten seconds on two idle cores.
_READY_TIMEOUT_S: Final = 180.0
# Everything dies at once; on a machine with much other work even that takes its time.
_END_TIMEOUT_S: Final = 60.0
_INSIDE: Final = Path(__file__).with_name("realnode_inside.py")
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


# Our own children, to be waited for when they end.
_started: Final[dict[int, "subprocess.Popen[bytes]"]] = {}


@dataclass(frozen=True, slots=True)
class RealNode:
    """A running node with its control plane."""

    cluster: Cluster
    groups: realnode_cgroups.Groups


def up(run_dir: Path, *, outlive: bool, images: Path | None = None) -> RealNode:
    """Starts a control plane and a real node; makes what they need where the cache lacks it.

    Args:
        run_dir: folder of its files; must not exist or be empty.
        outlive: True where it shall outlive this process.
        images: archive of the images it is given; made now where none is named.

    Raises:
        RealNodeImpossible: this machine cannot carry one.
        GoMissing, BuildFailed, ImagesError: a program or an image cannot be made.
        StartFailed: something ended, or was not ready in time; nothing is left then.
    """
    realnode_probes.require()
    binaries = ensure()
    programs = realnode_programs.ensure()
    run_dir.mkdir(parents=True, exist_ok=True)
    if any(run_dir.iterdir()):
        raise StartFailed(f"{run_dir} is not empty: a node may run there; `python tools/realnode.py down --run-dir {run_dir}` ends it")
    address = _free_link()
    plan = {"node": NODE, "address": str(address + 2), "link": "stow0", "cgroup": _groups(run_dir).name, "images": str(images or run_dir / IMAGES)}
    (run_dir / "plan.json").write_text(json.dumps(plan))
    try:
        if images is None:
            realnode_images.write(binaries, programs, run_dir / IMAGES)
        realnode_certificates.make(binaries, run_dir, NODE, plan["address"])
        (run_dir / "resolv.conf").touch()
        _groups(run_dir).make()
        _start(run_dir, plan, str(address + 1), outlive=outlive)
        return _await_ready(run_dir)
    except BaseException:
        left = down(run_dir)
        if left:
            sys.stderr.write(f"left behind: {', '.join(left)}\n")
        raise


def found(run_dir: Path) -> RealNode:
    """The node that runs in that folder.

    Raises:
        StartFailed: none does, or it is not ready.
    """
    ready = run_dir / "ready.json"
    if not ready.exists():
        raise StartFailed(f"no real node is ready in {run_dir}: `python tools/realnode.py up --run-dir {run_dir}` starts one")
    return RealNode(Cluster(ensure(), run_dir, json.loads(ready.read_text())["url"]), _groups(run_dir))


def down(run_dir: Path) -> list[str]:
    """Ends a node and removes everything of it; answers what is left all the same."""
    for name in ("inside.pid", "outside.pid"):
        file = run_dir / name
        if file.exists() and file.read_text():
            _end(int(file.read_text()), run_dir)
    link = _link_of(run_dir)
    deadline = time.monotonic() + _END_TIMEOUT_S
    # It goes with the network namespace, a moment after the last process.
    while Path(f"/sys/class/net/{link}").exists() and time.monotonic() < deadline:
        subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)
        time.sleep(0.05)
    _groups(run_dir).close()
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if str(run_dir) in line]
    if not mounts:
        shutil.rmtree(run_dir, ignore_errors=True)
    left = [*_groups(run_dir).left(), *mounts, *(str(path) for path in (run_dir, Path(f"/sys/class/net/{link}")) if path.exists())]
    return left + [f"process {pid}" for pid in _processes_of(run_dir)]


def _start(run_dir: Path, plan: dict[str, str], address: str, *, outlive: bool) -> None:
    (run_dir / "logs").mkdir()
    command = ["unshare", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, str(_INSIDE), str(run_dir)]
    with (run_dir / "logs" / "inside.log").open("wb") as log:
        outside = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=None if outlive else _die_with_parent,  # noqa: PLW1509 -- started from the main thread only
        )
    _started[outside.pid] = outside
    (run_dir / "outside.pid").write_text(str(outside.pid))
    inside = _await_child(outside.pid)
    (run_dir / "inside.pid").write_text(str(inside))
    link = _link_of(run_dir)
    _ip("link", "add", link, "type", "veth", "peer", "name", plan["link"], "netns", str(inside))
    _ip("address", "add", f"{address}/30", "dev", link)
    _ip("link", "set", link, "up")


def _await_child(outside: int) -> int:
    """The first process of the new namespaces, once it has a network namespace of its own."""
    children = Path(f"/proc/{outside}/task/{outside}/children")
    deadline = time.monotonic() + _END_TIMEOUT_S
    while time.monotonic() < deadline:
        found = children.read_text().split() if children.exists() else []
        if found and Path(f"/proc/{found[0]}/ns/net").readlink() != Path("/proc/self/ns/net").readlink():
            return int(found[0])
        time.sleep(0.02)
    raise StartFailed("unshare started nothing within its time")


def _await_ready(run_dir: Path) -> RealNode:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    inside = int((run_dir / "inside.pid").read_text())
    while time.monotonic() < deadline:
        if not _runs(inside, run_dir):
            break
        if (run_dir / "ready.json").exists() and _ready(node := found(run_dir)):
            return node
        time.sleep(0.2)
    logs = "\n".join(f"--- {log.name}:\n{log.read_text(errors='replace')[-1500:]}" for log in sorted((run_dir / "logs").glob("*.log")))
    raise StartFailed(f"the real node was not ready within {_READY_TIMEOUT_S:.0f} s, or ended; the ends of its logs:\n{logs}")


def _ready(node: RealNode) -> bool:
    jsonpath = '{.status.conditions[?(@.type=="Ready")].status}'
    try:
        return node.cluster.kubectl("get", "node", NODE, "--ignore-not-found", "-o", f"jsonpath={jsonpath}") == "True"
    except ControlPlaneError:
        return False


def _end(pid: int, run_dir: Path) -> None:
    if _runs(pid, run_dir):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_TIMEOUT_S
    while _runs(pid, run_dir) and time.monotonic() < deadline:
        time.sleep(0.05)
    if pid in _started:
        _started.pop(pid).wait(_END_TIMEOUT_S)


def _runs(pid: int, run_dir: Path) -> bool:
    """True while that process runs and is ours: its number may have been given to someone else since."""
    try:
        return str(run_dir).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _processes_of(run_dir: Path) -> Sequence[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid() and _runs(int(path.name), run_dir) and _is_inside(path)]


def _is_inside(process: Path) -> bool:
    try:
        return (process / "ns" / "pid").readlink() != Path("/proc/self/ns/pid").readlink()
    except OSError:
        return False


def _groups(run_dir: Path) -> realnode_cgroups.Groups:
    return realnode_cgroups.Groups(f"stowplan-{_tag(run_dir)}")


def _link_of(run_dir: Path) -> str:
    return f"stow{_tag(run_dir)}"


def _tag(run_dir: Path) -> str:
    """Eight digits: the name of a network device may have fifteen characters."""
    return hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:8]


def _free_link() -> ipaddress.IPv4Address:
    """The first of four addresses that no device of this machine has."""
    taken = {ipaddress.ip_address(row["local"]) for device in json.loads(_ip("-json", "-4", "address")) for row in device.get("addr_info", [])}
    for network in _LINKS.subnets(new_prefix=30):
        if not any(address in network for address in taken):
            return ipaddress.IPv4Address(network.network_address)
    raise StartFailed(f"no network is free among {_LINKS}: end the real nodes that run already")


def _ip(*arguments: str) -> str:
    run = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise StartFailed(f"`ip {' '.join(arguments)}`: {run.stderr.strip()}")
    return run.stdout


def _die_with_parent() -> None:
    """In the child: ask the kernel to kill it when its parent ends; `--kill-child` passes that on to the node."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

"""Builds, starts and stops a real Kubernetes control plane on loopback: `python tools/controlplane.py build|start|stop|path`.

`start` brings up etcd, the API server, the controller manager, kwok (which plays the nodes), the default scheduler and a second, unmodified
kube-scheduler named `stowplan` that asks an extender; it prints the path of a kubeconfig. Needs nothing but Python's standard library; where the
programs were not built yet, Go, which is fetched from the Go module proxy if none is installed.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import controlplane_parts as parts
from controlplane_binaries import cached, ensure
from controlplane_clusters import Cluster, kill_group
from controlplane_errors import ControlPlaneError

_RUN_DIR: Final = Path(tempfile.gettempdir()) / "stowplan-controlplane"
# Where `python -m stowplan_extender` listens when nothing else is said.
_EXTENDER_URL: Final = "http://127.0.0.1:8888"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; answers the exit status: 0 done, 1 refused or failed with the reason on standard error, 2 usage."""
    parser = argparse.ArgumentParser(prog="controlplane.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the programs where the cache lacks them; print where they lie")
    commands.add_parser("path", help="print where the programs lie, or would lie")
    start = commands.add_parser("start", help="start a control plane; print its kubeconfig")
    start.add_argument("--extender", default=_EXTENDER_URL, help="URL at which the scheduler named stowplan asks (default: %(default)s)")
    stop = commands.add_parser("stop", help="end it and remove its files")
    for command in (start, stop):
        command.add_argument("--run-dir", type=Path, default=_RUN_DIR, help="folder of its files (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "build":
                print(ensure().folder)
            case "path":
                print(cached().folder)
            case "start":
                print(_start(options.run_dir, options.extender))
            case "stop":
                _stop(options.run_dir)
    except ControlPlaneError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _start(run_dir: Path, extender_url: str) -> Path:
    if (run_dir / "processes.json").exists():
        raise ControlPlaneError(f"a control plane was started in {run_dir} already: `python tools/controlplane.py stop --run-dir {run_dir}` ends it")
    cluster = Cluster(ensure(), run_dir, outlive=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        parts.start_apiserver(cluster)
        parts.start_controller_manager(cluster)
        parts.start_kwok(cluster)
        parts.start_scheduler(cluster, "default-scheduler")
        parts.start_scheduler(cluster, "stowplan", extender_url)
    except BaseException:
        cluster.stop_all()
        raise
    finally:
        (run_dir / "processes.json").write_text(json.dumps(cluster.processes))
    sys.stderr.write(f"started in {time.monotonic() - started:.1f} s; the programs lie in {cluster.binaries.folder}\n")
    return cluster.kubeconfig()


def _stop(run_dir: Path) -> None:
    record = run_dir / "processes.json"
    if not record.exists():
        raise ControlPlaneError(f"no control plane was started in {run_dir}: name the folder of `start` by --run-dir")
    for pid in reversed(list(json.loads(record.read_text()).values())):
        # A process id may have been given to someone else since: only what was started from our run folder is ours to end.
        command_line = Path(f"/proc/{pid}/cmdline")
        if command_line.exists() and str(run_dir).encode() in command_line.read_bytes():
            kill_group(pid)
    shutil.rmtree(run_dir)


if __name__ == "__main__":
    sys.exit(main())

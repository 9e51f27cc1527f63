"""A running control plane on loopback: its processes, their logs, its users, and kubectl.

Every process leads a session of its own, so that whatever it starts ends with it. Nothing is shared between clusters: ports are free ones,
data, certificates, logs and the kubeconfig lie in one run folder.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from controlplane_binaries import Binaries
from controlplane_errors import CommandFailed, StartFailed

# Users of the API server's token file, with their groups. A password in clear is fine: the server listens on loopback, for one run.
ADMIN: Final = "admin"
USERS: Final[Mapping[str, str]] = {
    ADMIN: "system:masters",
    "system:kube-scheduler": "",
}

# A start takes 3 to 4 seconds on two idle cores; thirty times that on a busy machine is still a start.
START_TIMEOUT_S: Final = 120.0
# After SIGTERM.
STOP_TIMEOUT_S: Final = 5.0

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def free_ports(count: int) -> list[int]:
    """That many TCP ports of the loopback address which nobody listens on; all distinct."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [int(held.getsockname()[1]) for held in sockets]


def kill_group(pid: int) -> None:
    """Kills a process group; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@dataclass(slots=True)
class Cluster:
    """Where a cluster's files lie, how it is reached, and what runs."""

    binaries: Binaries
    run_dir: Path
    url: str = ""
    outlive: bool = False
    """True where the processes shall outlive the one that started them."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)
    """Process groups by name, in the order they were started."""
    commands: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = field(default_factory=dict)
    """How each process was last started: command, and environment beside our own. Kept when it ends, so that it can be started again."""
    _popen: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def ca_file(self) -> Path:
        """Certificate to trust: the API server signs its own."""
        return self.run_dir / "certs" / "apiserver.crt"

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """A kubeconfig file for one of the users; written by `write_kubeconfig`."""
        return self.run_dir / f"kubeconfig-{user.replace(':', '-')}.json"

    def write_kubeconfig(self, user: str, token: str) -> Path:
        """Writes a kubeconfig (JSON is YAML) for a user with that token."""
        path = self.kubeconfig(user)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "stowplan", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "stowplan", "context": {"cluster": "stowplan", "user": user}}],
            "current-context": "stowplan",
        }
        path.write_text(json.dumps(content, indent=1))
        return path

    def log(self, name: str) -> Path:
        """The log of a process: what it wrote to either stream."""
        return self.run_dir / "logs" / f"{name}.log"

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> int:
        """Starts a process in a session of its own, its output appended to its log; answers its process group."""
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | dict(environment or {}),
                start_new_session=True,
                preexec_fn=None if self.outlive else _die_with_parent,  # noqa: PLW1509 -- started from the main thread only
            )
        self.processes[name], self._popen[name] = process.pid, process
        self.commands[name] = (tuple(map(str, command)), dict(environment or {}))
        return process.pid

    def start_again(self, name: str) -> int:
        """Starts a process that has ended, or was stopped, as it was last started; answers its process group."""
        command, environment = self.commands[name]
        return self.start(name, command, environment)

    def running(self, name: str) -> bool:
        """True while the process that was started under that name has not ended."""
        process = self._popen.get(name)
        return process is not None and process.poll() is None

    def stop(self, name: str, *, kill: bool = False) -> None:
        """Ends one process and all it started: asks, waits, and kills what is left; with `kill` without asking."""
        pid, process = self.processes.pop(name, None), self._popen.pop(name, None)
        if pid is None or process is None:
            return
        if not kill and process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        kill_group(pid)
        process.wait(STOP_TIMEOUT_S)

    def stop_all(self) -> None:
        """Ends everything at once, without asking: nothing of it is kept."""
        for pid in self.processes.values():
            kill_group(pid)
        for name in reversed(list(self.processes)):
            self.stop(name, kill=True)

    def await_ready(self, name: str, ready: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> None:
        """Waits until a process answers.

        Raises:
            StartFailed: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            ended = not self.running(name)
            if ended or time.monotonic() > deadline:
                tail = self.log(name).read_text(errors="replace")[-3000:]
                raise StartFailed(f"{name} {'ended' if ended else f'did not answer within {timeout_s:.0f} s'}; the end of {self.log(name)}:\n{tail}")
            time.sleep(0.05)

    def answers(self, path: str) -> bool:
        """True where the API server answers that path with 200."""
        try:
            request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {self.tokens[ADMIN]}"})  # noqa: S310 -- our own https URL
            with urllib.request.urlopen(request, timeout=5, context=ssl.create_default_context(cafile=self.ca_file)) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kubectl(self, *arguments: str, stdin: str | None = None, user: str = ADMIN, timeout_s: float = 120) -> str:
        """Runs kubectl and answers its standard output.

        Raises:
            CommandFailed: it ended with another status than 0.
        """
        # The discovery cache stays in the run folder: kubectl's own lies in $HOME, keyed by host and port, and ports come back.
        command = [str(self.binaries.path("kubectl")), f"--kubeconfig={self.kubeconfig(user)}", f"--cache-dir={self.run_dir / 'kubectl-cache'}", *arguments]
        run = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
        if run.returncode != 0:
            raise CommandFailed(f"kubectl {' '.join(arguments)} (as {user}): {run.stderr.strip() or run.stdout.strip()}")
        return run.stdout

    def get(self, *arguments: str, user: str = ADMIN) -> Any:  # noqa: ANN401 -- raw JSON
        """`kubectl get … -o json`, decoded."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json", user=user))


def _die_with_parent() -> None:
    """In the child: ask the kernel to kill it when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

"""The predictor's process as users start it, on one core, and what it holds."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def cores() -> tuple[int, int]:
    """The server's core and the client's: another one, where there is one."""
    available = sorted(os.sched_getaffinity(0))
    return available[-1], available[0]


@dataclass(frozen=True, slots=True)
class Serving:
    """A process that serves, with the processes it has."""

    pid: int
    port: int
    start_s: float
    """From its start to "serving"."""

    def _family(self) -> list[int]:
        """Itself and its children, from the kernel's list for each of its threads."""
        found = [self.pid]
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory of the process itself, and of it and its children together; shared pages count once for each. Megabytes of 10^6 bytes."""
        sizes = [_status_bytes(pid, "VmRSS") for pid in self._family()]
        return sizes[0] / 1e6, sum(sizes) / 1e6

    def peak_mb(self) -> float:
        """The most that the process and its children held, each at its worst moment."""
        return sum(_status_bytes(pid, "VmHWM") for pid in self._family()) / 1e6

    def cpu_s(self) -> float:
        """Time on a core of the process itself, so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status_bytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


@contextmanager
def serving(core: int, more: Mapping[str, str] | None = None) -> Iterator[Serving]:
    """`python -m stowplan_predictor` with its defaults but for `more` of the environment, pinned to a core with all it starts; ended at the end."""
    variables = {"STOWPLAN_PREDICTOR_GRPC_PORT": "0", "STOWPLAN_PREDICTOR_METRICS_PORT": "0", "STOWPLAN_PREDICTOR_SHUTDOWN_NOTICE_S": "0"}
    started = time.perf_counter()
    command = ["taskset", "-c", str(core), sys.executable, "-m", "stowplan_predictor"]
    process = subprocess.Popen(command, env=os.environ | variables | dict(more or {}), stderr=subprocess.PIPE, text=True)
    try:
        port = 0
        for line in process.stderr or ():
            told = json.loads(line)
            port = told.get("grpc_port", port)
            if told["msg"] == "serving":
                break
        else:
            raise RuntimeError("the predictor ended before it served")
        yield Serving(process.pid, port, time.perf_counter() - started)
    finally:
        process.terminate()
        process.communicate(timeout=30)

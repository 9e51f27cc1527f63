"""Measured processes from outside: start, ask, end."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from stowplan_fleet.slices import Slice, SliceKind

from stowplan_predictor.errors import MeasurementError, RuntimeRefused

# A process that did not end by itself this long after its input was closed is killed.
_FAREWELL_S: Final = 5.0


def cores_of(part: Slice) -> int:
    """Cores that a slice's threads run on: its share, rounded up.

    Raises:
        MeasurementError: it is no CPU slice, or this machine has fewer cores.
    """
    if part.kind is not SliceKind.CPU:
        raise MeasurementError(f"slice {part}: only CPU slices are measured here")
    cores = -(-part.cpu_millicores // 1000)
    available = len(os.sched_getaffinity(0))
    if cores > available:
        raise MeasurementError(f"slice {part} needs {cores} cores, this machine gives us {available}; measure it on a larger one")
    return cores


def is_fractional(part: Slice) -> bool:
    """True where a quota, not whole cores, bounds the slice."""
    return part.cpu_millicores % 1000 != 0


def placed_cpus(count: int, skip: int = 0) -> list[int]:
    """The cores to pin to: the last ones, because interrupts land on the first; `skip` leaves that many for another process."""
    cpus = sorted(os.sched_getaffinity(0))
    last = len(cpus) - skip
    return cpus[last - count : last]


class Worker:
    """One process that measures; a context manager that ends it."""

    def __init__(
        self,
        join: Callable[[int], None] | None = None,
        module: str = "stowplan_predictor.measuring.workers",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts `module`; `join` is given its process id before anything else happens (to move it into a cgroup); `environment` is added to ours."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        command, variables = [sys.executable, "-m", module], {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=variables)
        if join is not None:
            join(self._process.pid)

    def ask(self, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Sends a command and waits for its answer.

        Raises:
            RuntimeRefused: the process answers with an error, or ends.
            MeasurementError: no answer within `timeout_s`.
        """
        self.tell(command, **arguments)
        return self.hear(command, timeout_s)

    def tell(self, command: str, **arguments: Any) -> None:  # noqa: ANN401 - JSON
        """Sends a command and does not wait."""
        stream = self._process.stdin
        if stream is None:  # pragma: no cover - PIPE was asked for
            raise MeasurementError("no standard input")
        try:
            stream.write(json.dumps({"command": command, **arguments}) + "\n")
            stream.flush()
        except BrokenPipeError:
            raise RuntimeRefused(f"{command}: {self._last_words()}") from None

    def hear(self, command: str, timeout_s: float) -> dict[str, Any]:
        """Waits for the answer to a command sent before."""
        stream = self._process.stdout
        if stream is None:  # pragma: no cover - PIPE was asked for
            raise MeasurementError("no standard output")
        ready, _, _ = select.select([stream], [], [], timeout_s)
        if not ready:
            raise MeasurementError(f"{command}: no answer within {timeout_s:g} s")
        line = stream.readline()
        if not line:
            raise RuntimeRefused(f"{command}: {self._last_words()}")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeRefused(f"{command}: {answer['error']}")
        return dict(answer)

    def _last_words(self) -> str:
        code = self._process.wait(timeout=_FAREWELL_S)
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"the measured process ended with code {code}: {words[-1] if words else 'it said nothing'}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the process and waits until it is gone."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        try:
            self._process.wait(timeout=_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


def now_utc() -> str:
    """ISO 8601, UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

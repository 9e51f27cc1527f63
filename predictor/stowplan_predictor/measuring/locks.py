"""One measurement at a time on a machine: an advisory lock on a file that all processes of all users agree on."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stowplan_predictor.errors import MachineBusy

# How often a waiting process looks again; a measurement lasts seconds, so half a second is soon enough and costs nothing.
_POLL_S: Final = 0.5


def machine_lock_path() -> Path:
    """The file, the same for every process of this machine."""
    # Not `tempfile.gettempdir()`: TMPDIR may differ between processes, the machine is one.
    folder = Path("/run/lock")
    return (folder if os.access(folder, os.W_OK) else Path("/tmp")) / "stowplan-measuring.lock"  # noqa: S108 - a lock that all users must agree on


@contextmanager
def machine_lock(wait_s: float, on_wait: Callable[[str], None] | None = None, path: Path | None = None) -> Iterator[None]:
    """Holds the machine; `on_wait` is told once, in words, when somebody else holds it.

    Raises:
        MachineBusy: somebody else still holds it after `wait_s` seconds.
    """
    path = path or machine_lock_path()
    deadline = time.monotonic() + wait_s
    with path.open("a+", encoding="utf-8") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "a process that has not named itself yet"
                if time.monotonic() >= deadline:
                    raise MachineBusy(f"{path} is held by {holder} for over {wait_s:g} s: wait for that measurement, or end it") from None
                if on_wait is not None and not told:
                    on_wait(f"waiting up to {wait_s:g} s for {holder}, which measures on this machine")
                    told = True
                time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            fcntl.flock(file, fcntl.LOCK_UN)

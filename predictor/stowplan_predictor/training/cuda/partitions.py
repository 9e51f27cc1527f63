"""Parts of a GPU for a measured process: an MPS daemon of our own, a MIG instance by its UUID, or the multiprocessors of a green context.

The daemon has folders of its own, so that no other daemon or client of this machine meets it, and it ends with the campaign. The GPU's compute mode stays as
it is.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from stowplan_predictor.errors import DeviceUnavailable
from stowplan_predictor.training.cuda.machines import MPS_CONTROL

_CONTROL_TIMEOUT_S: Final = 20.0
# After which servers whose clients do not end are ended.
_QUIT_S: Final = 10
# Fewest multiprocessors of a green context and what their number is a multiple of, by major compute capability (CUDA driver API 13.0, "Green Contexts").
_GREEN: Final[Mapping[int, tuple[int, int]]] = {7: (2, 2), 8: (4, 2), 9: (8, 8), 10: (8, 8), 12: (8, 8)}
# A process that finds no daemon's pipe there is no client of any, also where one of this machine listens at the usual place.
_NO_MPS: Final[Mapping[str, str]] = {"CUDA_MPS_PIPE_DIRECTORY": "/nonexistent/stowplan-no-mps"}


def percent_of(sharing: str) -> int:
    """The percentage in `mps-25` or `green-25`."""
    return int(sharing.partition("-")[2])


def green_multiprocessors(total: int, percent: int, compute_capability: str) -> int:
    """Multiprocessors of a green context nearest below that percentage.

    Raises:
        DeviceUnavailable: nobody documented what that generation can be split into.
    """
    major = int(compute_capability.partition(".")[0])
    if major not in _GREEN:
        raise DeviceUnavailable(f"into how many multiprocessors a GPU of compute capability {compute_capability} can be split is not known here")
    fewest, multiple = _GREEN[major]
    return max(fewest, total * percent // 100 // multiple * multiple)


def environment(sharing: str, mps: Mapping[str, str], mig: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of a process that has that part.

    Args:
        sharing: as `Unit.sharing`.
        mps: variables of the daemon's clients.
        mig: UUID of an instance by its profile, in a resource's spelling.
    """
    kind, _, rest = sharing.partition("-")
    if kind == "mps":
        return {**mps, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": rest}
    if kind == "mig":
        return {**_NO_MPS, "CUDA_VISIBLE_DEVICES": mig[rest]}
    return dict(_NO_MPS)


@contextmanager
def mps_daemon(uuid: str) -> Iterator[Mapping[str, str]]:
    """A daemon for one GPU while this lasts; yields the variables of its clients.

    Args:
        uuid: of that GPU: without it the daemon would serve all GPUs of the machine.

    Raises:
        DeviceUnavailable: it cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="stowplan-mps-") as folder:
        clients = {"CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe", "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log"}
        for path in clients.values():
            Path(path).mkdir()
        _control(["-d"], "", {**clients, "CUDA_VISIBLE_DEVICES": uuid})
        try:
            yield clients
        finally:
            # A client that hangs is not waited for, and a daemon that died by itself must not cost what was measured.
            with suppress(DeviceUnavailable):
                _control([], f"quit -t {_QUIT_S}\n", clients)


def _control(arguments: list[str], words: str, clients: Mapping[str, str]) -> None:
    try:
        run = subprocess.run(
            [MPS_CONTROL, *arguments], input=words, capture_output=True, text=True, timeout=_CONTROL_TIMEOUT_S, check=False, env={**os.environ, **clients}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceUnavailable(f"{MPS_CONTROL} {' '.join(arguments)}: {error}") from error
    if run.returncode:
        raise DeviceUnavailable(f"{MPS_CONTROL} failed with status {run.returncode}: {(run.stderr or run.stdout).strip()[:200]}")

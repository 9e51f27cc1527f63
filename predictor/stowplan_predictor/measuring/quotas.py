"""A share of a core, held by the kernel: the CFS bandwidth quota that a container's CPU limit sets (cgroup v1 and v2)."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stowplan_predictor.errors import CgroupUnavailable

# The period that kubelets use (`cpuCFSQuotaPeriod`, default 100ms): throttling, and so the shape of the latencies, depends on it.
PERIOD_US: Final = 100_000
_ROOT: Final = Path("/sys/fs/cgroup")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise CgroupUnavailable(
            f"{path}: cannot write {text!r}: {error.strerror}; a fractional slice needs a writable cgroup (root, or a delegated subtree)"
        ) from error


def _set_quota(group: Path, root: Path, millicores: int) -> None:
    quota_us = millicores * PERIOD_US // 1000
    if (root / "cpu" / "cpu.cfs_quota_us").exists():
        _write(group / "cpu.cfs_period_us", str(PERIOD_US))
        _write(group / "cpu.cfs_quota_us", str(quota_us))
    else:
        _write(group / "cpu.max", f"{quota_us} {PERIOD_US}")


@contextmanager
def cpu_quota(millicores: int, root: Path = _ROOT) -> Iterator[Callable[[int], None]]:
    """A fresh cgroup limited to `millicores`; yields a function that moves a process (by id) into it. The group goes when its processes have ended.

    Raises:
        CgroupUnavailable: it cannot be made or written here; the message says which file and why.
    """
    version_1 = (root / "cpu" / "cpu.cfs_quota_us").exists()
    if not version_1 and not (root / "cgroup.controllers").exists():
        raise CgroupUnavailable(f"{root}: neither a cgroup v1 CPU controller nor cgroup v2 is mounted; measure fractional slices on another machine")
    parent = root / "cpu" if version_1 else root
    if not version_1:
        _write(parent / "cgroup.subtree_control", "+cpu")
    group = parent / f"stowplan-{os.getpid()}-{millicores}m"
    try:
        group.mkdir(exist_ok=True)
    except OSError as error:
        raise CgroupUnavailable(f"{group}: cannot be made: {error.strerror}; a fractional slice needs a writable cgroup") from error
    try:
        _set_quota(group, root, millicores)
        yield lambda process: _write(group / "cgroup.procs", str(process))
    finally:
        # A process may still be leaving; an empty group costs nothing, and the name is reused.
        with contextlib.suppress(OSError):
            group.rmdir()

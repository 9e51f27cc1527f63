"""The control groups below which a real node's pods live: one folder in every hierarchy (version 1), or one in the only one (version 2).

Version 1 was tried; version 2 follows the kernel's documentation (Documentation/admin-guide/cgroup-v2.rst) and was not.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The last processes may take a moment to go.
_GONE_TIMEOUT_S: Final = 60.0
_CONTROLLERS: Final = ("cpu", "cpuset", "memory", "pids", "io")


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of one name."""

    name: str

    @property
    def unified(self) -> bool:
        """True on a machine with version 2 only."""
        return not _hierarchies("cgroup")

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where they lie, or would lie."""
        tops = _hierarchies("cgroup") or _hierarchies("cgroup2")
        return tuple(top / self.name for top in tops)

    @property
    def _touched(self) -> tuple[Path, ...]:
        """Also where others make some of that name: on a machine with both versions runc does, in the second one."""
        return tuple(top / self.name for top in (*_hierarchies("cgroup"), *_hierarchies("cgroup2")))

    def make(self) -> None:
        """Makes them, fit to hold pods.

        Raises:
            OSError: there are no control groups, or they cannot be written.
        """
        if not self.folders:
            raise OSError("no control groups are mounted")
        for folder in self.folders:
            if self.unified:
                _enable(folder.parent)
            folder.mkdir(exist_ok=True)
            if self.unified:
                _enable(folder)
            for file in ("cpuset.cpus", "cpuset.mems"):
                # Version 1: a fresh cpuset is empty and takes no process.
                if not self.unified and (folder.parent / file).exists():
                    (folder / file).write_text((folder.parent / file).read_text())
            if not self.unified and (folder.parent / "cpu.shares").exists():
                # A group weighs as much as one process, however many it holds: the node is to weigh as much as its processors.
                (folder / "cpu.shares").write_text(str(1024 * (os.cpu_count() or 1)))

    def close(self) -> None:
        """Removes them with all groups below; waits for their last processes."""
        deadline = time.monotonic() + _GONE_TIMEOUT_S
        while True:
            for folder in self._touched:
                below = sorted((path for path in folder.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)) if folder.is_dir() else []
                for group in (*below, folder):
                    with contextlib.suppress(OSError):
                        group.rmdir()
            if not self.left() or time.monotonic() > deadline:
                return
            time.sleep(0.1)

    def left(self) -> list[str]:
        """Groups that are still there."""
        return [str(folder) for folder in self._touched if folder.exists()]

    def cpu_quota(self, pod_uid: str) -> float | None:
        """Cores that a pod's processes may use together, as the kernel enforces it; None without a limit.

        Raises:
            FileNotFoundError: no group has that pod.
        """
        for folder in self.folders:
            for group in folder.glob(f"kubepods/**/pod{pod_uid}"):
                if (group / "cpu.max").exists():
                    quota, period = (group / "cpu.max").read_text().split()
                elif (group / "cpu.cfs_quota_us").exists():
                    quota, period = ((group / f"cpu.cfs_{what}_us").read_text().strip() for what in ("quota", "period"))
                else:
                    continue
                return None if quota in {"max", "-1"} else int(quota) / int(period)
        raise FileNotFoundError(f"no control group of {self.name} holds pod {pod_uid}")


def _hierarchies(kind: str) -> tuple[Path, ...]:
    rows = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = dict.fromkeys(Path(row[1]) for row in rows if row[2] == kind and row[1].startswith("/sys/fs/cgroup"))
    return tuple(found)


def _enable(group: Path) -> None:
    offered = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS if name in offered))

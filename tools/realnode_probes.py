"""Whether this machine can carry a real node, found out by trying, and what is missing installed where that is a package's affair."""

import contextlib
import ctypes.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import realnode_cgroups as cgroups
from controlplane_errors import ControlPlaneError

# What neither Go nor our Debian packages bring: the program or library, and the package that has it.
_PACKAGES: Final = {"ip": "iproute2", "unshare": "util-linux", "libseccomp.so.2": "libseccomp2"}
_TIMEOUT_S: Final = 20
_INSTALL_TIMEOUT_S: Final = 300
_NAMESPACES: Final = ("unshare", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--mount-proc")


class RealNodeImpossible(ControlPlaneError):
    """The machine lacks something; the message says what."""


def require() -> None:
    """Makes sure that a real node can be started here.

    Raises:
        RealNodeImpossible: it cannot, with the reason.
    """
    here = f"{sys.platform}-{platform.machine()}"
    if here != "linux-x86_64":
        raise RealNodeImpossible(f"a real node needs linux-x86_64, and this is {here}")
    if os.geteuid() != 0:
        raise RealNodeImpossible(f"a real node needs root (namespaces, mounts, control groups), and this is user {os.geteuid()}")
    _install_missing()
    try:
        with contextlib.closing(cgroups.Groups(f"stowplan-probe-{os.getpid()}")) as probe:
            probe.make()
    except OSError as error:
        raise RealNodeImpossible(f"a real node needs control groups that can be written, and here: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        for name in ("upper", "work", "merged"):
            (Path(folder) / name).mkdir()
        layered = f"mount -t overlay overlay -o lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/work {folder}/merged"
        _try((*_NAMESPACES, "sh", "-c", f"mount -t sysfs sysfs /sys && {layered}"), "namespaces of its own with an overlay file system")
    if not Path("/proc/sys/kernel/seccomp").is_dir():
        raise RealNodeImpossible("a real node needs a kernel with seccomp, and /proc/sys/kernel/seccomp is missing")


def _install_missing() -> None:
    missing = [package for name, package in _PACKAGES.items() if not _has(name)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise RealNodeImpossible(f"a real node needs the packages {', '.join(missing)}, and there is no apt-get to install them with")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *missing]):
        run = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False, env=environment)
        if run.returncode != 0:
            raise ControlPlaneError(f"`{' '.join(command)}` failed; a real node needs {', '.join(missing)}:\n{run.stderr[-1000:]}")


def _has(name: str) -> bool:
    if ".so" in name:
        return ctypes.util.find_library(name.removeprefix("lib").partition(".so")[0]) is not None
    return shutil.which(name) is not None


def _try(command: Sequence[str], what: str) -> None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise RealNodeImpossible(f"a real node needs {what}, and `{' '.join(command)}` does not end") from error
    if run.returncode != 0:
        raise RealNodeImpossible(f"a real node needs {what}, and here: {run.stderr.strip()[-500:]}")

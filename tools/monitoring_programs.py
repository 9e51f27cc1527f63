"""What rules, dashboards and monitors are tried with: Prometheus and promtool, and the Prometheus operator with its API definitions.

Prometheus is Debian's package, pinned in `images/debian.lock` (its Go module takes long to build, and npm); what that package leaves out, discovery in
Kubernetes, is built of the module (`controlplane/discovery/`). The operator and the definitions are of its Go module, pinned in `controlplane/monitoring/`.
Nothing of the machine changes: all is laid into the cache. `python tools/monitoring_programs.py` does that now and says where.
"""

import platform
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cached_folders
import images_layers
import images_packages as packages
import images_trees as trees
from controlplane_errors import ControlPlaneError
from definitions import PROMETHEUS_OPERATOR
from go_modules import GoModule
from images_errors import ImagesError, PackagesRefused

_KIND: Final = "prometheus"
PLATFORM: Final = "linux-x86_64"
_OPERATOR: Final = GoModule("monitoring", ("operator",), "tool")
_DISCOVERY: Final = GoModule("discovery", ("discovery",), ".")
_LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, slots=True)
class MonitoringPrograms:
    """Where they lie."""

    folder: Path

    @property
    def prometheus(self) -> Path:
        """The server."""
        return self.folder / "bin" / "prometheus"

    @property
    def promtool(self) -> Path:
        """Checks and tests rules."""
        return self.folder / "bin" / "promtool"


def ensure() -> MonitoringPrograms:
    """The programs, from the cache or fetched now (22 MB).

    Raises:
        PackagesRefused: no mirror has the package, it is not what is pinned, or it is made for other machines than this.
    """
    here = f"{sys.platform}-{platform.machine()}"
    if here != PLATFORM:
        raise PackagesRefused(f"Prometheus is pinned for {PLATFORM} only, and this is {here}: run what needs it there")
    pins = "".join(package.sha256 for package in packages.locked("monitoring"))
    return MonitoringPrograms(cached_folders.ensure(_KIND, "programs", pins.encode(), _unpack))


def operator() -> Path:
    """The Prometheus operator, from the cache or built now with Go: what makes Prometheus' configuration of monitors and rules.

    Raises:
        GoMissing: no Go is there to build it, and none could be fetched.
        BuildFailed: Go could not build it.
    """
    return _OPERATOR.ensure(_KIND) / "operator"


def discovery() -> Path:
    """Prometheus' own discovery in Kubernetes, which Debian's package leaves out, as a program; from the cache or built now with Go.

    Raises:
        GoMissing: no Go is there to build it, and none could be fetched.
        BuildFailed: Go could not build it.
    """
    return _DISCOVERY.ensure(_KIND) / "discovery"


def definition(plural: str) -> Path:
    """The file of a custom resource definition of the Prometheus operator, from the cache or fetched now with Go (3 MB).

    Args:
        plural: of its kind, as `servicemonitors`.

    Raises:
        GoMissing: no Go is there to fetch them, and none could be fetched.
        BuildFailed: Go could not fetch the module, or it holds no definitions.
    """
    return PROMETHEUS_OPERATOR.path(plural)


def _unpack(target: Path) -> None:
    """Lays the packages down as they are, and beside them scripts that start the programs with their own C library, whatever the machine has."""
    wanted = packages.locked("monitoring")
    found = packages.tree_of(wanted, images_layers.cache_folder() / "packages")
    trees.write({name: entry for name, entry in found.items() if not name.startswith("usr/share/prometheus")}, target / "tree")
    trees.write({f"bin/{name}": trees.file(_script(name), stat.S_IRWXU | 0o055) for name in ("prometheus", "promtool")}, target)


def _script(name: str) -> bytes:
    # The folder is renamed when it is whole, so the script finds its own place.
    text = f'#!/bin/sh\ntree="${{0%/*}}/../tree"\nlibraries="$tree/{_LIBRARIES}"\n'
    return (text + f'exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$tree/usr/bin/{name}" "$@"\n').encode()


def main(arguments: Sequence[str]) -> int:
    """Fetches everything; answers the exit status: 0 done, 1 failed with the reason on standard error, 2 usage."""
    if arguments:
        sys.stderr.write("usage: python tools/monitoring_programs.py\n")
        return 2
    try:
        found = (ensure().folder, operator(), discovery(), definition("servicemonitors").parent)
    except (ControlPlaneError, ImagesError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{path}\n" for path in found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The programs of a real node: containerd and what it starts, DNS, from pinned Go modules; nft and runc from pinned Debian packages.

Kubelet and kube-proxy are of the control plane's module (`controlplane_binaries`). Each set lies in the cache under the hash of its pins, whole or not at all.
"""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cached_folders
import images_layers
import images_packages as packages
import images_trees as trees
from go_modules import GoModule

_LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"


MODULES: Final = (
    GoModule(
        "runtime",
        ("containerd", "containerd-shim-runc-v2", "ctr", "bridge", "host-local", "loopback"),
        "tool",
        # File systems that need libraries or kernel modules which nobody here has.
        ("-tags", "no_btrfs,no_devmapper,no_zfs,no_aufs"),
        "-X github.com/containerd/containerd/v2/version.Version=v2.3.7",
    ),
    GoModule("dns", ("dns",), "."),
    GoModule("pause", ("pause",), "."),
)


@dataclass(frozen=True, slots=True)
class NodePrograms:
    """Where the programs of a node lie."""

    folders: dict[str, Path]
    """By program."""

    def path(self, name: str) -> Path:
        """Where the program of that name lies."""
        return self.folders[name] / name

    @property
    def plugins(self) -> Path:
        """Folder of the network plugins."""
        return self.folders["bridge"]


def ensure() -> NodePrograms:
    """All programs, from the cache or made now (three to four minutes on two cores).

    Raises:
        GoMissing: no Go is there to build them, and none could be fetched.
        BuildFailed: Go could not build them.
        PackagesRefused: a Debian package cannot be had.
    """
    folders: dict[str, Path] = {}
    for module in MODULES:
        folders |= dict.fromkeys(module.programs, module.ensure("realnode"))
    tools = cached_folders.ensure("realnode", "tools", "".join(package.sha256 for package in packages.locked("node")).encode(), _unpack)
    return NodePrograms(folders | {"nft": tools / "bin", "runc": tools / "tree/usr/sbin"})


def _unpack(target: Path) -> None:
    """Lays the packages down as they are, and beside them an `nft` that uses their libraries and not the machine's."""
    tree = packages.tree_of(packages.locked("node"), images_layers.cache_folder() / "packages")
    trees.write(tree, target / "tree")
    # The folder is renamed when it is whole, so the script finds its own place.
    script = f'#!/bin/sh\ntree="${{0%/*}}/../tree"\nlibraries="$tree/{_LIBRARIES}"\n'
    script += 'exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$tree/usr/sbin/nft" "$@"\n'
    trees.write({"bin/nft": trees.file(script.encode(), stat.S_IRWXU | 0o055)}, target)

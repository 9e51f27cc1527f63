"""The control plane's programs: built once from their Go modules at the versions `controlplane/go.mod` pins, kept in a cache.

The cache lies outside the tree, one folder for each `go.mod` and platform, and appears there whole or not at all: a build happens in a
folder beside it and is renamed at the end. Nothing but the Python standard library is used, so that this runs before anything is installed.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import controlplane_toolchains as toolchains
from controlplane_errors import BuildFailed

MODULE: Final = Path(__file__).resolve().parent.parent / "controlplane"

# The program behind each name we use; etcd's main package lies in a folder named `server`.
PROGRAMS: Final = {
    "etcd": "server",
    "helm": "helm",
    "kube-apiserver": "kube-apiserver",
    "kube-controller-manager": "kube-controller-manager",
    "kube-proxy": "kube-proxy",
    "kube-scheduler": "kube-scheduler",
    "kubectl": "kubectl",
    "kubelet": "kubelet",
    "kwok": "kwok",
}

# How kwok's nodes become Ready and its pods Running, Completed and gone; it refuses to start without any (kwok 0.8.0).
STAGES: Final = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat/node-heartbeat.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)

# From this version on, `go` fetches the toolchain that a go.mod asks for by itself (https://go.dev/doc/toolchain).
OLDEST_GO: Final = (1, 21)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A complete set of programs."""

    folder: Path

    def path(self, name: str) -> Path:
        """Where the program of that name lies; a key of PROGRAMS."""
        return self.folder / PROGRAMS[name]

    @property
    def stages(self) -> tuple[Path, ...]:
        """The stage files for kwok."""
        return tuple(self.folder / "stages" / Path(stage).name for stage in STAGES)

    @property
    def complete(self) -> bool:
        """True where every program and every stage file is there."""
        programs = all(os.access(self.path(name), os.X_OK) for name in PROGRAMS)
        return programs and all(stage.is_file() for stage in self.stages)


def cached() -> Binaries:
    """Where the programs lie, or would lie, for this go.mod on this platform."""
    root = os.environ.get("STOWPLAN_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stowplan"
    digest = hashlib.sha256((MODULE / "go.mod").read_bytes()).hexdigest()[:16]
    return Binaries(Path(root) / "controlplane" / f"{digest}-{sys.platform}-{platform.machine()}")


def find_go() -> Path | None:
    """A Go that can build the module: one that is installed; None where there is none, or only ones too old to fetch what go.mod asks for."""
    found = [shutil.which("go"), "/usr/local/go/bin/go", *sorted(map(str, Path("/usr/lib").glob("go-*/bin/go")), reverse=True)]
    for candidate in filter(None, found):
        if not os.access(candidate, os.X_OK):
            continue
        # GOTOOLCHAIN=local: ask what is installed, without fetching anything.
        answer = subprocess.run([candidate, "version"], capture_output=True, text=True, check=False, env=os.environ | {"GOTOOLCHAIN": "local"})
        version = re.search(r"go(\d+)\.(\d+)", answer.stdout)
        if version and (int(version[1]), int(version[2])) >= OLDEST_GO:
            return Path(candidate)
    return None


def ensure() -> Binaries:
    """The programs, from the cache, or built now (about six minutes on two cores); where no Go is installed, with one fetched for it.

    Raises:
        GoMissing: they are not in the cache, no Go is there to build them, and none could be fetched.
        BuildFailed: Go could not build them.
    """
    binaries = cached()
    if binaries.complete:
        return binaries
    with one_builder(binaries.folder):
        if not binaries.complete:  # someone else may have built while we waited
            _build(find_go() or toolchains.fetch(binaries.folder.parent), binaries.folder)
    return binaries


def _build(go: Path, target: Path) -> None:
    for stale in target.parent.glob(f"{target.name}.building-*"):
        shutil.rmtree(stale, ignore_errors=True)
    building = target.with_name(f"{target.name}.building-{os.getpid()}")
    (building / "stages").mkdir(parents=True)
    kubernetes = _pinned(r"^\s*k8s\.io/kubernetes (v\S+)")
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    # Without these the server calls itself v0.0.0, and kubectl and helm judge their compatibility by it.
    versions = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor}
    flags = "-s -w " + " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in versions.items())
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": "-buildvcs=false"}
    sys.stderr.write(f"building the control plane into {target} with {go}: about 6 minutes on two cores, once\n")
    started = time.monotonic()
    for command in (["build", "-trimpath", "-ldflags", flags, "-o", f"{building}/", "tool"], ["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]):
        run = subprocess.run([go, *command], cwd=MODULE, env=environment, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            shutil.rmtree(building, ignore_errors=True)
            raise BuildFailed(f"`go {command[0]}` in {MODULE} ended with status {run.returncode}; its last words:\n{run.stderr[-2000:]}")
    for stage in STAGES:
        shutil.copy(Path(run.stdout.strip()) / "kustomize" / "stage" / stage, building / "stages")
    if not Binaries(building).complete:
        raise BuildFailed(f"{building} lacks some of {sorted(PROGRAMS.values())}: does controlplane/go.mod still name them all under `tool`?")
    shutil.rmtree(target, ignore_errors=True)
    building.rename(target)
    sys.stderr.write(f"built in {time.monotonic() - started:.0f} s\n")


@contextlib.contextmanager
def one_builder(target: Path) -> Iterator[None]:
    """Lets one process at a time make what will lie there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pinned(pattern: str) -> str:
    found = re.search(pattern, (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildFailed(f"{MODULE / 'go.mod'} has no line that matches {pattern}")
    return found[1]

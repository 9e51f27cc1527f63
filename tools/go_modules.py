"""Go modules of `controlplane/` beside the control plane's own: each pins programs of one purpose, built once into the cache."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cached_folders
import controlplane_binaries as controlplane
import controlplane_toolchains as toolchains
from controlplane_errors import BuildFailed


@dataclass(frozen=True, slots=True)
class GoModule:
    """A Go module of `controlplane/` and what is built of it."""

    name: str
    programs: tuple[str, ...]
    what: str
    """What `go build` is asked for: `tool` (all that go.mod names so), or a package."""
    flags: tuple[str, ...] = ()
    linked: str = ""
    """Variables set by the linker."""

    @property
    def folder(self) -> Path:
        """Where its go.mod lies."""
        return controlplane.MODULE / self.name

    def ensure(self, kind: str) -> Path:
        """The folder of its programs in that part of the cache; built now where they are not there.

        Raises:
            GoMissing: no Go is there to build them, and none could be fetched.
            BuildFailed: Go could not build them.
        """
        pins = b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()) if path.suffix in {".mod", ".sum", ".go"})
        return cached_folders.ensure(kind, self.name, pins + repr(self).encode(), self._build)

    def _build(self, target: Path) -> None:
        go = controlplane.find_go() or toolchains.fetch(controlplane.cached().folder.parent)
        environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": "-buildvcs=false"}
        sys.stderr.write(f"building {', '.join(self.programs)} of {self.folder} with {go}, once\n")
        started = time.monotonic()
        command = [str(go), "build", "-trimpath", *self.flags, "-ldflags", f"-s -w {self.linked}", "-o", f"{target}/", self.what]
        run = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise BuildFailed(f"`go build` in {self.folder} ended with status {run.returncode}; its last words:\n{run.stderr[-2000:]}")
        missing = [name for name in self.programs if not os.access(target / name, os.X_OK)]
        if missing:
            raise BuildFailed(f"{self.folder} builds no {', '.join(missing)}: does its go.mod still name them all?")
        sys.stderr.write(f"built in {time.monotonic() - started:.0f} s\n")

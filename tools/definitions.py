"""API definitions of others that our chart makes objects of, as they come with their Go modules: pinned in folders of `controlplane/`, kept in the cache."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cached_folders
import controlplane_binaries as controlplane
import controlplane_toolchains as toolchains
from controlplane_errors import BuildFailed


@dataclass(frozen=True, slots=True)
class Definitions:
    """Custom resource definitions of one project."""

    kind: str
    """Folder of the cache."""
    pins: str
    """Folder of `controlplane/` with the go.mod that names one module."""
    module: str
    """Its path."""
    folder: str
    """Where in the module they lie."""
    group: str
    """The API group, with which their files' names begin."""

    def path(self, plural: str) -> Path:
        """The file of a definition, from the cache or fetched now with Go.

        Args:
            plural: of its kind, as `certificates`.

        Raises:
            GoMissing: no Go is there to fetch it, and none could be fetched.
            BuildFailed: Go could not fetch the module, or it holds no definitions.
        """
        pins = b"".join((controlplane.MODULE / self.pins / name).read_bytes() for name in ("go.mod", "go.sum"))
        return cached_folders.ensure(self.kind, "definitions", pins, self._download) / f"{self.group}_{plural}.yaml"

    def _download(self, target: Path) -> None:
        go = controlplane.find_go() or toolchains.fetch(controlplane.cached().folder.parent)
        where = controlplane.MODULE / self.pins
        environment = os.environ | {"GOTOOLCHAIN": "auto", "GOFLAGS": ""}
        run = subprocess.run([str(go), "mod", "download", "-json", self.module], cwd=where, env=environment, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise BuildFailed(
                f"`go mod download` in {where} ended with status {run.returncode}: is there a network? Its last words:\n{(run.stderr or run.stdout)[-2000:]}"
            )
        found = sorted((Path(json.loads(run.stdout)["Dir"]) / self.folder).glob(f"{self.group}_*.yaml"))
        if not found:
            raise BuildFailed(f"{self.module} has no definitions in {self.folder}: has another version moved them?")
        for path in found:
            shutil.copyfile(path, target / path.name)


CERT_MANAGER = Definitions("cert-manager", "certificates", "github.com/cert-manager/cert-manager", "deploy/crds", "cert-manager.io")
PROMETHEUS_OPERATOR = Definitions(
    "prometheus", "monitoring", "github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd", "monitoring.coreos.com"
)

"""Reads a bundle directory and refuses it where a byte differs from what its manifest says. Nothing in a bundle is executed but ONNX graphs."""

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.errors import ValueRefused

from stowplan_predictor.bundles.gpu_bundles import GPUS, GpuBundle, gpu_bundle
from stowplan_predictor.bundles.manifests import MANIFEST, Manifest, digest, read_manifest
from stowplan_predictor.colocation.degradations import TERMS, ColocationTable
from stowplan_predictor.errors import BundleNotFound, BundleRefused
from stowplan_predictor.fusion.serving import FusionSource, open_fusion
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.kernels.estimators import KERNELS, KernelEstimator, open_kernels
from stowplan_predictor.kernels.latencies import NetworkModel, NetworkTable
from stowplan_predictor.response.response_times import ResponseTable

# The runtime whose bundle of CPUs this package ships.
CPU_RUNTIME: Final = "onnxruntime-cpu"
FUSION: Final = "fusion.json"
NETWORKS: Final = "networks.json"
COLOCATION: Final = "colocation.json"
RESPONSE: Final = "response.json"
DEVICES: Final = "devices"
# A regressor is well below a megabyte; a file beyond this is not one of ours.
_LARGEST_FILE: Final = 64 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Trained models of one runtime on CPUs, checked and ready to answer."""

    manifest: Manifest
    manifest_json: str
    """As it lies on disk."""
    fusion: FusionSource
    """How graphs are cut into kernels."""
    kernels: KernelEstimator
    networks: NetworkModel
    colocation: ColocationTable
    response: ResponseTable
    devices: tuple[CpuDevice, ...]
    """Those it was measured on."""

    @property
    def label(self) -> str:
        """`<name>@<version>`, as every answer carries it."""
        return self.manifest.label


def _read(folder: Path, path: str) -> bytes:
    file = folder / path
    try:
        mode = file.lstat().st_mode
        if not stat.S_ISREG(mode) or file.stat().st_size > _LARGEST_FILE:
            raise BundleRefused(f"{file}: not a plain file of at most {_LARGEST_FILE >> 20} MiB")
        return file.read_bytes()
    except OSError as error:
        raise BundleRefused(f"{file}: cannot be read ({error}); take the bundle as it was published") from error


def _checked_files(folder: Path, manifest: Manifest) -> Mapping[str, bytes]:
    present = {str(file.relative_to(folder).as_posix()) for file in folder.rglob("*") if file.is_symlink() or not file.is_dir()} - {MANIFEST}
    if present != manifest.files.keys():
        odd = sorted(present ^ manifest.files.keys())[0]
        raise BundleRefused(f"{folder / odd}: {'not named by the manifest' if odd in present else 'missing'}; take the bundle as it was published")
    files = {path: _read(folder, path) for path in sorted(manifest.files)}
    for path, data in files.items():
        if digest(data) != manifest.files[path].sha256 or len(data) != manifest.files[path].bytes:
            raise BundleRefused(f"{folder / path}: altered, its digest is not that of the manifest; take the bundle as it was published")
    return files


def _table(files: Mapping[str, bytes], path: str, kind: type[T]) -> T:
    content: Any = json.loads(files[path])
    return msgspec.convert(content, kind)


def _fusion(files: Mapping[str, bytes]) -> FusionSource:
    """How the bundle cuts graphs; opened once, so that one nobody can use is refused now and not with the first graph."""
    table = _table(files, FUSION, FusionTable)
    found = FusionSource(table, files.get(table.file, b""))
    open_fusion(found)
    return found


def _assemble(manifest: Manifest, raw: bytes, files: Mapping[str, bytes]) -> Bundle:
    colocation = _table(files, COLOCATION, ColocationTable)
    if colocation.terms != TERMS or len(colocation.coefficients) != len(TERMS):
        raise BundleRefused(f"bundle {manifest.name}: trained with other features than this version computes; train it again with `stowplan train`")
    if any(coefficient < 0 for coefficient in colocation.coefficients):
        raise BundleRefused(f"bundle {manifest.name}: a tenant would make its neighbour faster; train it again with `stowplan train`")
    devices = tuple(descriptors.read_device(data) for path, data in sorted(files.items()) if path.startswith(f"{DEVICES}/"))
    if not devices:
        raise BundleRefused(f"bundle {manifest.name}: names no device that it was measured on; train it again with `stowplan train`")
    return Bundle(
        manifest=manifest,
        manifest_json=raw.decode(),
        fusion=_fusion(files),
        kernels=open_kernels(files[KERNELS], files),
        networks=NetworkModel(_table(files, NETWORKS, NetworkTable), files),
        colocation=colocation,
        response=_table(files, RESPONSE, ResponseTable),
        devices=devices,
    )


def open_bundle(path: Path) -> Bundle | GpuBundle:
    """Reads, checks and opens a bundle directory, of CPUs or of GPUs.

    Raises:
        BundleNotFound: there is no such directory, or it holds no manifest.
        BundleRefused: incomplete, altered, malformed, or made for another version.
    """
    if not (path / MANIFEST).is_file():
        raise BundleNotFound(f"{path}: no bundle here (a directory with {MANIFEST}); name another, or train one with `stowplan train`")
    raw = _read(path, MANIFEST)
    manifest = read_manifest(raw, str(path / MANIFEST))
    files = _checked_files(path, manifest)
    try:
        return gpu_bundle(manifest, raw, files, _fusion(files)) if GPUS in files else _assemble(manifest, raw, files)
    # Whatever a table or an ONNX file holds that its reader cannot take: ONNX Runtime's own errors derive from Exception only.
    except (ValueRefused, msgspec.ValidationError, ValueError, KeyError, RuntimeError) as error:
        raise BundleRefused(f"{path}: complete and unaltered, but not usable by this version: {error}; train it again with `stowplan train`") from error


def load_bundle(path: Path) -> Bundle:
    """A bundle of CPUs.

    Raises:
        BundleNotFound: as `open_bundle`.
        BundleRefused: as `open_bundle`, or it is a bundle of GPUs.
    """
    found = open_bundle(path)
    if not isinstance(found, Bundle):
        raise BundleRefused(f"{path}: a bundle of GPUs (runtime {found.manifest.runtime}); a bundle of CPUs is wanted here")
    return found


def shipped_runtimes() -> tuple[str, ...]:
    """Runtimes that this package carries a bundle for."""
    root = _shipped()
    return tuple(sorted(folder.name for folder in root.iterdir() if (folder / MANIFEST).is_file())) if root.is_dir() else ()


def shipped_folder(runtime: str) -> Path:
    """Where the bundle lies that this package carries for a runtime.

    Raises:
        BundleNotFound: it carries none for that runtime.
    """
    known = shipped_runtimes()
    if runtime not in known:
        raise BundleNotFound(f"no bundle for runtime {runtime[:64]!r}; there are: {', '.join(known) or 'none'}")
    return _shipped() / runtime


def shipped_bundle(runtime: str) -> Bundle:
    """The bundle of CPUs for a runtime that this package carries.

    Raises:
        BundleNotFound: it carries none for that runtime.
        BundleRefused: it was altered after installation, or is one of GPUs.
    """
    return load_bundle(shipped_folder(runtime))


def _shipped() -> Path:
    return Path(str(resources.files("stowplan_predictor") / "shipped"))

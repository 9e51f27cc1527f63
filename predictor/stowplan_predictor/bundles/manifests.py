"""The manifest of a bundle: name, version, files with their digests, provenance, and how far off it was on what it had not seen.

`manifest.json` is canonical JSON (sorted keys, two spaces, one newline at the end). Its `version` is the SHA-256 of the same JSON without `version`; since
the digests of all files stand in it, a version names every byte of a bundle.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec

from stowplan_predictor.errors import BundleRefused

MANIFEST: Final = "manifest.json"
# What this code reads. Raised when a table changes its meaning.
SCHEMA: Final = 2
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself."""

    schema: int
    name: str
    version: str
    """`sha256:<hex>`."""
    runtime: str
    """Whose latencies it predicts: `onnxruntime-cpu`."""
    files: Mapping[str, FileEntry]
    """By relative path with slashes; everything in the directory but the manifest."""
    models: Mapping[str, Any]
    """Which model serves each stage, by stage (`fusion`, `kernels`, `networks`), and by which held-out figures it was chosen."""
    provenance: Mapping[str, Any]
    """Data sets with host, CPU, versions, dates and digests; the training code."""
    errors: Mapping[str, Any]
    """By stage: error on held-out families, the floor (trivial baselines) and the noise of the measurements, with units in the names."""

    @property
    def label(self) -> str:
        """`<name>@<version>`, as every answer carries it."""
        return f"{self.name}@{self.version}"


def canonical(content: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON object.

    Raises:
        ValueError: a number is not finite.
    """
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


def digest(content: bytes) -> str:
    """`sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def version_of(content: Mapping[str, Any]) -> str:
    """Version of a manifest with that content."""
    return digest(canonical({key: value for key, value in content.items() if key != "version"}))


def _safe(path: str) -> bool:
    """True for a relative path that stays inside, in its only spelling."""
    pure = PurePosixPath(path)
    return str(pure) == path and not pure.is_absolute() and ".." not in pure.parts and "\\" not in path and path not in ("", ".", MANIFEST)


def read_manifest(raw: bytes, where: str) -> Manifest:
    """Decodes and checks a manifest.

    Raises:
        BundleRefused: malformed, not canonical, of another schema, or its version is not that of its content.
    """
    try:
        content = json.loads(raw)
        manifest = msgspec.convert(content, Manifest)
        if canonical(content) != raw:
            raise BundleRefused(f"{where}: not in canonical form, so it was edited by hand; take the bundle as it was published")
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise BundleRefused(f"{where}: malformed ({error}); take the bundle as it was published") from error
    if manifest.schema != SCHEMA:
        raise BundleRefused(f"{where}: schema {manifest.schema}, this version reads {SCHEMA}; take a bundle made for it, or train one")
    if manifest.version != version_of(content):
        raise BundleRefused(f"{where}: its version is not that of its content, so it was altered; take the bundle as it was published")
    if not _NAME.fullmatch(manifest.name) or not _NAME.fullmatch(manifest.runtime):
        raise BundleRefused(f"{where}: name and runtime must be lower-case words with dots and dashes")
    bad = [path for path, entry in manifest.files.items() if not _safe(path) or not _DIGEST.fullmatch(entry.sha256) or entry.bytes < 0]
    if bad:
        raise BundleRefused(f"{where}: {bad[0]!r} is no path inside a bundle with a digest and a size")
    return manifest

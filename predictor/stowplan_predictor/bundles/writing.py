"""Writes a bundle directory: the files, then the manifest that names each of them."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stowplan_predictor.bundles.manifests import MANIFEST, SCHEMA, FileEntry, canonical, digest, version_of


def write_bundle(
    folder: Path, *, name: str, runtime: str, files: Mapping[str, bytes], models: Mapping[str, Any], provenance: Mapping[str, Any], errors: Mapping[str, Any]
) -> str:  # fmt: skip
    """Replaces `folder` by a bundle of those files; the same content gives the same bytes.

    Returns:
        The bundle's version.
    """
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "runtime": runtime,
        "files": {path: asdict(FileEntry(digest(data), len(data))) for path, data in files.items()},
        "models": models,
        "provenance": provenance,
        "errors": errors,
    }
    content["version"] = version_of(content)
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for path, data in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (fresh / MANIFEST).write_bytes(canonical(content))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return str(content["version"])

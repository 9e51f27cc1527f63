"""Model files of services: from a directory by digest, beside the services' file, or from the snapshot's ConfigMaps."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from stowplan_fleet.manifests.configmaps import ConfigMapManifest
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_operator.errors import ModelRejected
from stowplan_operator.models import contents, sources
from stowplan_operator.models.sources import RemoteSource
from stowplan_predictor.graphs.limits import DEFAULT_LIMITS

from stowplan_cli.inputs import models
from stowplan_cli.terminal.exits import Refused

_FILE = "file:"


def index_models(folder: Path | None) -> dict[str, Path]:
    """Files of a directory and those below it, by `sha256:<hex>`; empty where no directory is named.

    Raises:
        Refused: it cannot be read.
    """
    if folder is None:
        return {}
    found: dict[str, Path] = {}
    try:
        if not folder.is_dir():
            raise Refused(f"--models {folder}: no such directory")
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.stat().st_size <= DEFAULT_LIMITS.max_file_bytes:
                with file.open("rb") as content:
                    found.setdefault(f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}", file)
    except OSError as error:
        raise Refused(f"--models {folder}: {error.filename} cannot be read ({error.strerror})") from error
    return found


def model_of(manifest: InferenceServiceManifest, indexed: Mapping[str, Path], configmaps: Mapping[str, ConfigMapManifest], beside: Path | None) -> bytes:
    """The model file of a service.

    Args:
        manifest: whose.
        indexed: files by digest.
        configmaps: by `namespace/name`.
        beside: directory that `file:` means; None where such a URI means nothing.

    Raises:
        Refused: it is in none of those places, or is another file than the pinned one; says what to do.
    """
    name, spec = manifest.metadata.full_name, manifest.spec.model
    digest = spec.digest or manifest.status.model.digest
    if spec.uri.startswith(_FILE) and beside is not None:
        content = models.read_model(beside / spec.uri.removeprefix(_FILE).removeprefix("//"))
        actual = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if spec.digest and spec.digest != actual:
            raise Refused(f"InferenceService {name}: {spec.uri} is {actual}, but spec.model.digest pins {spec.digest}; correct one of them")
        return content
    if digest in indexed:
        return models.read_model(indexed[digest])
    missing = f"no file of --models has {digest}" if digest else "neither spec.model.digest nor status.model.digest tells which file of --models it is"
    try:
        source = sources.parse_uri(spec.uri)
        if isinstance(source, RemoteSource):
            raise Refused(f"InferenceService {name}: {missing}; and {source} is not fetched offline: put the file into the directory of --models")
        found = configmaps.get(f"{manifest.metadata.namespace}/{source.name}")
        return contents.read(source, manifest.metadata.namespace, found, DEFAULT_LIMITS.max_file_bytes, digest)
    except ModelRejected as error:
        raise Refused(f"InferenceService {name}: its model is not here: {missing}; and {error}") from error

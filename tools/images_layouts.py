"""Images as OCI layouts (https://github.com/opencontainers/image-spec): configuration, manifest, index, and all of them in one archive.

Layers are not compressed: they are loaded on the machine that made them. What `ctr images import`, `podman load` and `skopeo copy oci-archive:` read.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import images_trees as trees

_MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
# The same images are the same bytes, whenever they are made.
_CREATED: Final = "1970-01-01T00:00:00Z"
_PLATFORM: Final = {"architecture": "amd64", "os": "linux"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer on disk."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image: what it is told to be, and its layers, the lowest first."""

    name: str
    """With its tag, such as `localhost/stowplan-predictor:0.1.0`."""
    configuration: dict[str, Any]
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Bytes of its layers."""
        return sum(layer.size for layer in self.layers)


def layer_of(path: Path) -> Layer:
    """The layer in that file."""
    return Layer(path, trees.digest(path), path.stat().st_size)


def write(images: Sequence[Image], path: Path) -> None:
    """Writes images into one archive, layers that several of them share only once; the same images are the same bytes."""
    blobs: dict[str, bytes | Layer] = {}
    index = []
    for image in images:
        # Buildah builds on no image whose history does not name each of its layers.
        history = [{"created": _CREATED, "created_by": f"tools/containers.py: {layer.digest}"} for layer in image.layers]
        rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in image.layers]}
        configuration = _put(blobs, {**_PLATFORM, "created": _CREATED, "config": image.configuration, "rootfs": rootfs, "history": history})
        layers = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.digest, "size": layer.size} for layer in image.layers]
        manifest = _put(
            blobs,
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_TYPE,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **configuration},
                "layers": layers,
            },
        )
        # containerd takes the image's name from the first annotation, podman and skopeo from the second.
        names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}
        index.append({"mediaType": _MANIFEST_TYPE, **manifest, "platform": _PLATFORM, "annotations": names})
        blobs |= {layer.digest: layer for layer in image.layers}
    partial = path.with_name(f".{path.name}.partial")
    with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", _json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": index}))
        for digest, content in sorted(blobs.items()):
            _add(archive, f"blobs/sha256/{digest.removeprefix('sha256:')}", content)
    partial.rename(path)


def _put(blobs: dict[str, bytes | Layer], value: dict[str, Any]) -> dict[str, Any]:
    content = _json(value)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blobs[digest] = content
    return {"digest": digest, "size": len(content)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes | Layer) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    if isinstance(content, Layer):
        info.size = content.size
        with content.path.open("rb") as file:
            archive.addfile(info, file)
    else:
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))

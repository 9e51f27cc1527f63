"""ConfigMaps: device descriptors and model graphs live in them."""

import base64
import binascii

import msgspec

from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests.decoding import Manifest
from stowplan_fleet.manifests.objects import Metadata


class ConfigMapManifest(Manifest, frozen=True):
    """A ConfigMap."""

    metadata: Metadata = Metadata()
    data: dict[str, str] = msgspec.field(default_factory=dict)
    binary_data: dict[str, str] = msgspec.field(default_factory=dict)
    """Base64."""


def value_of(manifest: ConfigMapManifest, key: str) -> bytes:
    """Content of a key, from `data` or `binaryData`.

    Raises:
        ManifestRefused: there is no such key, or it is not base64.
    """
    where = f"ConfigMap {manifest.metadata.full_name}"
    if key in manifest.data:
        return manifest.data[key].encode()
    if key not in manifest.binary_data:
        raise ManifestRefused(f"{where} has no key {key[:253]!r}; it has {sorted([*manifest.data, *manifest.binary_data])[:16]}")
    try:
        return base64.b64decode(manifest.binary_data[key], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ManifestRefused(f"{where}: binaryData[{key!r}] is not base64: {error}") from error

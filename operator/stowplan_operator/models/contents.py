"""Contents: the bytes behind a source, within limits and with the digest that was promised."""

import hashlib

from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests import configmaps
from stowplan_fleet.manifests.configmaps import ConfigMapManifest
from stowplan_fleet.reasons import ConditionReason

from stowplan_operator.errors import ModelRejected
from stowplan_operator.models.sources import ConfigMapSource


def read(source: ConfigMapSource, namespace: str, found: ConfigMapManifest | None, bytes_max: int, digest: str = "") -> bytes:
    """The model file.

    kubectl puts a file into `data` where its bytes happen to be valid UTF-8 and into `binaryData` otherwise; both are read.

    Args:
        source: where it shall lie.
        namespace: the service's own.
        found: the ConfigMap; None where there is none.
        bytes_max: largest file accepted.
        digest: `sha256:<hex>` that the author pinned; empty for any.

    Raises:
        ModelRejected: it is not there, too large, or another file than the pinned one.
    """
    if found is None:
        raise ModelRejected(
            ConditionReason.MODEL_NOT_FOUND,
            f"namespace {namespace} has no ConfigMap {source.name}; make it with kubectl create configmap {source.name} --from-file={source.key}=MODEL.onnx",
        )
    try:
        content = configmaps.value_of(found, source.key)
    except ManifestRefused as error:
        raise ModelRejected(ConditionReason.MODEL_NOT_FOUND, str(error)) from error
    if len(content) > bytes_max:
        raise ModelRejected(ConditionReason.MODEL_REFUSED, f"the model has {len(content)} bytes, more than the {bytes_max} allowed; drop its weights")
    actual = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if digest and digest != actual:
        raise ModelRejected(
            ConditionReason.DIGEST_MISMATCH,
            f"ConfigMap {namespace}/{source.name}, key {source.key}: the file is {actual}, but spec.model.digest pins {digest}; correct one of them",
        )
    return content

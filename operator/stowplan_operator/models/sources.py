"""Sources: what a model URI means. A URI is a tenant's input, so only what is listed here is ever followed."""

import re
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.reasons import ConditionReason

from stowplan_operator.errors import ModelRejected

# DNS subdomain and ConfigMap key, as the API server checks them (k8s.io/apimachinery/pkg/util/validation).
_CONFIGMAP: Final = re.compile(r"configmap://(?P<name>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)/(?P<key>[A-Za-z0-9._-]{1,253})")
_REMOTE_SCHEMES: Final = ("https", "s3", "gs")


@dataclass(frozen=True, slots=True)
class ConfigMapSource:
    """A key of a ConfigMap in the service's own namespace."""

    name: str
    key: str


def parse_uri(uri: str) -> ConfigMapSource:
    """Reads a model URI.

    Raises:
        ModelRejected: the scheme is not allowed or not known, or the rest is malformed.
    """
    match = _CONFIGMAP.fullmatch(uri)
    if match is not None:
        return ConfigMapSource(match["name"], match["key"])
    scheme = uri.partition(":")[0][:32]
    shown = repr(uri[:128])
    if scheme in _REMOTE_SCHEMES:
        raise ModelRejected(
            ConditionReason.SOURCE_NOT_ALLOWED,
            f"{shown}: remote sources ({scheme}:) are off in this cluster and this version has no switch to allow them; put the file, "
            "weights stripped, into a ConfigMap of this namespace and write configmap://NAME/KEY",
        )
    if scheme == "file":
        raise ModelRejected(ConditionReason.SOURCE_NOT_ALLOWED, f"{shown}: file: works offline only (stowplan place); in a cluster write configmap://NAME/KEY")
    raise ModelRejected(ConditionReason.SOURCE_NOT_ALLOWED, f"{shown} is not a model source; write configmap://NAME/KEY")

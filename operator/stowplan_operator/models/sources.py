"""Sources: what a model URI means. A URI is a tenant's input, so only what is listed here is ever followed, and remote places only where they are allowed."""

import re
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.reasons import ConditionReason

from stowplan_operator.errors import ModelRejected

# DNS subdomain and ConfigMap key, as the API server checks them (k8s.io/apimachinery/pkg/util/validation).
_CONFIGMAP: Final = re.compile(r"configmap://(?P<name>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)/(?P<key>[A-Za-z0-9._-]{1,253})")
# A host and perhaps a port; no user, no brackets. Paths and queries of RFC 3986 without fragments.
_HTTPS: Final = re.compile(r"https://(?P<place>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?)/(?P<path>[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{1,800})")
# Bucket names as Amazon and Google allow them; keys of plain characters.
_BUCKET: Final = re.compile(r"(?P<scheme>s3|gs)://(?P<place>[a-z0-9][a-z0-9._-]{1,61}[a-z0-9])/(?P<path>[A-Za-z0-9][A-Za-z0-9._/=+@-]{0,800})")


@dataclass(frozen=True, slots=True)
class ConfigMapSource:
    """A key of a ConfigMap in the service's own namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A file on a web server or in a bucket."""

    scheme: str
    """`https`, `s3` or `gs`."""
    place: str
    """Host, with its port where one is named, or bucket."""
    path: str
    """Below the place, without a leading slash."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}/{self.path}"


Source = ConfigMapSource | RemoteSource


@dataclass(frozen=True, slots=True)
class Allowances:
    """Remote places that the administrator allows, each by its exact name; none by default."""

    https_hosts: tuple[str, ...] = ()
    s3_buckets: tuple[str, ...] = ()
    gs_buckets: tuple[str, ...] = ()

    def check(self, source: RemoteSource) -> None:
        """Passes a place that is allowed.

        Raises:
            ModelRejected: it is not; the message names the value of the chart to set.
        """
        setting, allowed = {
            "https": ("models.httpsHosts", self.https_hosts),
            "s3": ("models.s3Buckets", self.s3_buckets),
            "gs": ("models.gsBuckets", self.gs_buckets),
        }[source.scheme]
        if source.place not in allowed:
            raise ModelRejected(
                ConditionReason.SOURCE_NOT_ALLOWED,
                f"{source.scheme}://{source.place} is not among the places that models may come from in this cluster; ask its administrator to add it to "
                f"operator.{setting} of the chart, or put the file, weights stripped, into a ConfigMap of this namespace and write configmap://NAME/KEY",
            )


def parse_uri(uri: str) -> Source:
    """Reads a model URI; whether a remote place is allowed is another question (`Allowances.check`).

    Raises:
        ModelRejected: the scheme is not known, or the rest is malformed.
    """
    if match := _CONFIGMAP.fullmatch(uri):
        return ConfigMapSource(match["name"], match["key"])
    if match := _HTTPS.fullmatch(uri):
        return RemoteSource("https", match["place"], match["path"])
    match = _BUCKET.fullmatch(uri)
    if match and not {"", ".", ".."} & set(match["path"].split("/")):
        return RemoteSource(match["scheme"], match["place"], match["path"])
    shown = repr(uri[:128])
    if uri.startswith("file:"):
        raise ModelRejected(ConditionReason.SOURCE_NOT_ALLOWED, f"{shown}: file: works offline only (stowplan place); in a cluster write configmap://NAME/KEY")
    raise ModelRejected(
        ConditionReason.SOURCE_NOT_ALLOWED,
        f"{shown} is not a model source; write configmap://NAME/KEY, https://HOST/PATH, s3://BUCKET/KEY or gs://BUCKET/KEY",
    )

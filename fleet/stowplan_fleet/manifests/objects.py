"""What all objects have: metadata, conditions, and the envelopes in which the API server sends many of them."""

import msgspec

from stowplan_fleet.manifests.decoding import Manifest

# A quantity as written: the API server always sends a string, people also write bare numbers.
QuantityText = str | int | float


class Metadata(Manifest, frozen=True):
    """The part of ObjectMeta that somebody here reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    deletion_timestamp: str = ""
    """Empty unless somebody deleted it."""

    @property
    def full_name(self) -> str:
        """`namespace/name`, or the name alone for an object without a namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Condition(Manifest, frozen=True):
    """One condition of a status, by the API conventions."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    observed_generation: int = 0


class ListMetadata(Manifest, frozen=True):
    """Metadata of a list."""

    resource_version: str = ""
    continue_token: str = msgspec.field(name="continue", default="")


class ListEnvelope(Manifest, frozen=True):
    """A list whose items stay undecoded, so that one broken item cannot spoil the others."""

    metadata: ListMetadata = ListMetadata()
    items: list[msgspec.Raw] | None = None
    kind: str = ""


class WatchEnvelope(Manifest, frozen=True):
    """One event of a watch; the object stays undecoded until its type is known."""

    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    object: msgspec.Raw


class StatusError(Manifest, frozen=True):
    """The object of an ERROR event, and the body of a refused request."""

    code: int = 0
    reason: str = ""
    message: str = ""


class ObjectHead(Manifest, frozen=True):
    """Just enough to know what an object is."""

    api_version: str = ""
    kind: str = ""
    metadata: Metadata = Metadata()

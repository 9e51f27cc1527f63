"""Messages of the scheduler-extender protocol (k8s.io/kube-scheduler/extender/v1, types.go).

Go's structs carry no JSON tags, so keys are PascalCase. We read tolerantly (unknown keys are skipped, lists may be null) and write strictly:
every key, and integers where Go wants an int64, because a float there silently loses all scores.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from stowplan_fleet.manifests.pods import PodManifest

from stowplan_extender.errors import RequestRefused


class _Message(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    pass


class ExtenderArgs(_Message, frozen=True):
    """What `/filter` and `/prioritize` receive."""

    pod: PodManifest
    node_names: list[str] | None = None
    """None where `nodeCacheCapable` is false: whole nodes come in `Nodes` then, which we do not read."""

    @property
    def names(self) -> list[str]:
        """Names of the candidate nodes.

        Raises:
            RequestRefused: the scheduler sent whole nodes.
        """
        if self.node_names is None:
            raise RequestRefused("no NodeNames: set nodeCacheCapable: true for this extender in the scheduler's configuration")
        return self.node_names


class ExtenderFilterResult(_Message, frozen=True):
    """What `/filter` answers."""

    nodes: None = None
    node_names: list[str] | None = None
    failed_nodes: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Preemption may help there."""
    failed_and_unresolvable_nodes: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Preemption cannot help there."""
    error: str = ""
    """Where not empty, the scheduling cycle fails and is retried with backoff."""


class HostPriority(_Message, frozen=True):
    """One node's score, 0 to 10."""

    host: str
    score: int


class ExtenderBindingArgs(_Message, frozen=True):
    """What `/bind` receives."""

    pod_name: str
    pod_namespace: str
    pod_uid: str = msgspec.field(name="PodUID")
    node: str


class ExtenderBindingResult(_Message, frozen=True):
    """What `/bind` answers."""

    error: str = ""


ARGS: Final = msgspec.json.Decoder(ExtenderArgs)
BINDING_ARGS: Final = msgspec.json.Decoder(ExtenderBindingArgs)
_ENCODER: Final = msgspec.json.Encoder()


def read_args(body: bytes) -> ExtenderArgs:
    """Reads what `/filter` and `/prioritize` receive.

    Raises:
        RequestRefused: not such a message; says where.
    """
    try:
        return ARGS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(f"not an ExtenderArgs message: {error}") from error


def read_binding_args(body: bytes) -> ExtenderBindingArgs:
    """Reads what `/bind` receives.

    Raises:
        RequestRefused: not such a message; says where.
    """
    try:
        return BINDING_ARGS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(f"not an ExtenderBindingArgs message: {error}") from error


def write(message: ExtenderFilterResult | ExtenderBindingResult | list[HostPriority]) -> bytes:
    """The message as JSON."""
    return _ENCODER.encode(message)

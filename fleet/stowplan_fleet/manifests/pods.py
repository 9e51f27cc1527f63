"""Pods: what is read of them, what they request, and which slice and service they belong to."""

from collections.abc import Callable

import msgspec

from stowplan_fleet import keys, quantities, slices
from stowplan_fleet.errors import ManifestRefused, ValueRefused
from stowplan_fleet.manifests.decoding import Manifest
from stowplan_fleet.manifests.objects import Condition, Metadata, QuantityText
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import SliceClass


class Resources(Manifest, frozen=True):
    """Requests and limits of a container or a pod."""

    requests: dict[str, QuantityText] = msgspec.field(default_factory=dict)
    limits: dict[str, QuantityText] = msgspec.field(default_factory=dict)


class Container(Manifest, frozen=True):
    """The part of a container that is read."""

    name: str = ""
    resources: Resources = Resources()
    restart_policy: str = ""
    """`Always` makes an init container a sidecar: it keeps running beside the containers."""


class Toleration(Manifest, frozen=True):
    """Lets a pod onto tainted nodes."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class _Something(Manifest, frozen=True):
    """It is there, and nothing in it is read."""


class _Preferring(Manifest, frozen=True):
    """What one kind of affinity would rather have; what it requires is the scheduler's to read."""

    preferred: list[_Something] = msgspec.field(default_factory=list, name="preferredDuringSchedulingIgnoredDuringExecution")


class Affinity(Manifest, frozen=True):
    """Whom and what a pod would rather stand beside."""

    node_affinity: _Preferring = _Preferring()
    pod_affinity: _Preferring = _Preferring()
    pod_anti_affinity: _Preferring = _Preferring()


class Spread(Manifest, frozen=True):
    """Over what a pod's likes shall be spread."""

    when_unsatisfiable: str = ""


class Volume(Manifest, frozen=True):
    """The part of a volume that is read."""

    persistent_volume_claim: _Something | None = None
    ephemeral: _Something | None = None


class PodSpec(Manifest, frozen=True):
    """The part of a pod's spec that is read."""

    node_name: str = ""
    """Empty until the pod is bound."""
    scheduler_name: str = ""
    containers: list[Container] = msgspec.field(default_factory=list)
    init_containers: list[Container] = msgspec.field(default_factory=list)
    overhead: dict[str, QuantityText] = msgspec.field(default_factory=dict)
    """What the runtime class adds."""
    resources: Resources = Resources()
    """Requests of the pod as a whole, which win over its containers'."""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    tolerations: list[Toleration] = msgspec.field(default_factory=list)
    affinity: Affinity = Affinity()
    topology_spread_constraints: list[Spread] = msgspec.field(default_factory=list)
    volumes: list[Volume] = msgspec.field(default_factory=list)
    resource_claims: list[_Something] = msgspec.field(default_factory=list)


class PodStatus(Manifest, frozen=True):
    """The part of a pod's status that is read."""

    phase: str = ""
    conditions: list[Condition] = msgspec.field(default_factory=list)


class PodManifest(Manifest, frozen=True):
    """A pod."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


def is_finished(pod: PodManifest) -> bool:
    """True where the pod holds nothing any more: it succeeded or failed for good."""
    return pod.status.phase in {"Succeeded", "Failed"}


def states_preferences(pod: PodManifest) -> bool:
    """True where the pod says which of the nodes that would do it would rather have."""
    affinity = pod.spec.affinity
    kinds = (affinity.node_affinity, affinity.pod_affinity, affinity.pod_anti_affinity)
    return any(kind.preferred for kind in kinds) or any(item.when_unsatisfiable == "ScheduleAnyway" for item in pod.spec.topology_spread_constraints)


def waits_for_claims(pod: PodManifest) -> bool:
    """True where somebody else has to provide a volume or a device on the node before the pod is bound there, and may fail to."""
    return bool(pod.spec.resource_claims) or any(volume.persistent_volume_claim or volume.ephemeral for volume in pod.spec.volumes)


def cpu_request_millicores(pod: PodManifest) -> int:
    """CPU that the scheduler reserves for the pod.

    Raises:
        ManifestRefused: a quantity that is none.
    """
    return _effective(pod, "cpu", quantities.millicores)


def resource_request(pod: PodManifest, resource: str) -> int:
    """Count or bytes of any other resource that the scheduler reserves for the pod.

    Raises:
        ManifestRefused: a quantity that is none.
    """
    return _effective(pod, resource, quantities.whole)


def _effective(pod: PodManifest, resource: str, read: Callable[[str], int]) -> int:
    """The larger of what runs at once: all containers with the sidecars, or any init container with the sidecars started before it.

    Rule and order: k8s.io/component-helpers/resource, helpers.go, PodRequests; a request that is absent equals the limit.
    """

    def asked(resources: Resources) -> int | None:
        text = resources.requests.get(resource, resources.limits.get(resource))
        if text is None:
            return None
        try:
            return read(str(text))
        except ValueRefused as error:
            raise ManifestRefused(f"pod {pod.metadata.full_name}: request for {resource}: {error}") from error

    sidecars = 0
    starting = 0
    for container in pod.spec.init_containers:
        amount = asked(container.resources) or 0
        if container.restart_policy == "Always":
            sidecars += amount
            starting = max(starting, sidecars)
        else:
            starting = max(starting, sidecars + amount)
    running = sidecars + sum(asked(container.resources) or 0 for container in pod.spec.containers)
    whole_pod = asked(pod.spec.resources)
    overhead = asked(Resources(requests=pod.spec.overhead)) or 0
    return (max(running, starting) if whole_pod is None else whole_pod) + overhead


def service_name_of(pod: PodManifest) -> ServiceName | None:
    """The InferenceService the pod serves; None for everyone else's pods."""
    name = pod.metadata.labels.get(keys.SERVICE_LABEL, "")
    return ServiceName(f"{pod.metadata.namespace}/{name}") if name else None


def is_ours(pod: PodManifest) -> bool:
    """True where the pod asks for the marker and for our scheduler: a label alone makes nobody a resident whose objective is protected."""
    marked = any(keys.MARKER_RESOURCE in (item.resources.requests | item.resources.limits) for item in pod.spec.containers)
    return marked and pod.spec.scheduler_name == keys.SCHEDULER_NAME


def slice_class_of(pod: PodManifest) -> SliceClass | None:
    """The slice class the pod got when it was bound, or else the one it asks for; None where it names none.

    Raises:
        ManifestRefused: an annotation that is not a slice class.
    """
    # Only a binding writes the former: on a pod without a node it is somebody's claim.
    bound = (keys.BOUND_SLICE_ANNOTATION,) if pod.spec.node_name else ()
    for annotation in (*bound, keys.SLICE_CLASS_ANNOTATION):
        text = pod.metadata.annotations.get(annotation)
        if text is not None:
            try:
                return slices.parse_slice_class(text)
            except ValueRefused as error:
                raise ManifestRefused(f"pod {pod.metadata.full_name}: annotation {annotation}: {error}") from error
    return None

"""From pods, as the API server writes them, to the values that decisions work on."""

from collections.abc import Callable
from dataclasses import dataclass

from stowplan_fleet import keys
from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests import pods
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.nodes import NodeName, ResourceName
from stowplan_fleet.services import Service, ServiceName
from stowplan_fleet.slices import SliceClass

from stowplan_extender.decision.occupancies import Lodger, Newcomer, PodUid, Requests, Tenancy
from stowplan_extender.errors import PodRefused, ServiceNotReady

FindService = Callable[[ServiceName], Service | None]


@dataclass(frozen=True, slots=True)
class PodRecord:
    """All that is kept of a pod."""

    uid: PodUid
    name: str
    """`namespace/name`."""
    node: NodeName | None
    """None until bound."""
    requests: Requests
    service: ServiceName | None
    """None for pods that are not ours."""
    slice_class: SliceClass | None
    problem: str = ""
    """Why the slice class could not be read, where the pod names one."""
    unschedulable: bool = False
    """The scheduler has tried the pod and found no node for it; False once it is bound."""


def record_of(pod: PodManifest) -> PodRecord:
    """Reads a pod.

    Raises:
        ManifestRefused: a request that is not a quantity.
    """
    problem = ""
    try:
        slice_class = pods.slice_class_of(pod)
    except ManifestRefused as error:
        slice_class, problem = None, str(error)
    return PodRecord(
        uid=PodUid(pod.metadata.uid),
        name=pod.metadata.full_name,
        node=NodeName(pod.spec.node_name) if pod.spec.node_name else None,
        requests=requests_of(pod),
        service=pods.service_name_of(pod) if pods.is_ours(pod) else None,
        slice_class=slice_class,
        problem=problem,
        unschedulable=not pod.spec.node_name and any(item.type == "PodScheduled" and item.status == "False" for item in pod.status.conditions),
    )


def requests_of(pod: PodManifest) -> Requests:
    """What the scheduler sets aside for the pod. The marker is no device: no node has any of it.

    Raises:
        ManifestRefused: a request that is not a quantity.
    """
    resources = [container.resources for container in (*pod.spec.containers, *pod.spec.init_containers)]
    # Device plugins advertise names with a domain; `kubernetes.io/` is reserved (k8s.io/component-helpers, IsExtendedResourceName).
    names = {name for item in resources for name in (*item.requests, *item.limits) if "/" in name and "kubernetes.io/" not in name}
    names.discard(keys.MARKER_RESOURCE)
    counts = [(ResourceName(name), pods.resource_request(pod, name)) for name in sorted(names)]
    return Requests(
        cpu_millicores=pods.cpu_request_millicores(pod),
        memory_bytes=pods.resource_request(pod, "memory"),
        devices=tuple((name, count) for name, count in counts if count > 0),
    )


def lodger_of(record: PodRecord, find_service: FindService) -> Lodger:
    """The pod as somebody on a node. A pod of ours whose service is gone, or whose slice cannot be read, is an unknown tenant."""
    service = find_service(record.service) if record.service else None
    tenancy = Tenancy(service, record.slice_class) if service and record.slice_class else None
    return Lodger(record.uid, record.requests, tenancy)


def newcomer_of(record: PodRecord, find_service: FindService) -> Newcomer:
    """The pod as somebody who looks for a place.

    Raises:
        PodRefused: the pod names no service or no readable slice class: it was not made by the operator, or altered since.
        ServiceNotReady: the service is not in the view yet, or its model is not analysed yet.
    """
    if record.service is None:
        raise PodRefused(f"the pod asks for {keys.MARKER_RESOURCE} but names no InferenceService: label {keys.SERVICE_LABEL} is missing")
    if record.problem:
        raise PodRefused(record.problem)
    if record.slice_class is None:
        raise PodRefused(f"the pod names no slice class: annotation {keys.SLICE_CLASS_ANNOTATION} is missing")
    service = find_service(record.service)
    if service is None:
        raise ServiceNotReady(f"InferenceService {record.service} is not known, or was refused (its conditions say why)")
    if service.graph_digest is None:
        raise ServiceNotReady(f"the model of InferenceService {record.service} is not analysed yet")
    return Newcomer(record.uid, record.requests, Tenancy(service, record.slice_class))

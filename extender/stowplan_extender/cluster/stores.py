"""Stores: one per collection, from raw objects into the cluster view. An object that cannot be read touches no other."""

import logging
from collections.abc import Callable, Hashable
from dataclasses import replace

import msgspec
from stowplan_fleet import descriptors, keys
from stowplan_fleet.errors import ManifestRefused, ValueRefused
from stowplan_fleet.manifests import decoding, nodes, pods
from stowplan_fleet.manifests.configmaps import ConfigMapManifest
from stowplan_fleet.manifests.decoding import Manifest
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.objects import ObjectHead
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.manifests.services import service_of
from stowplan_fleet.nodes import NodeName
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import DeviceName

from stowplan_extender.cluster import lodgings
from stowplan_extender.cluster.lodgings import PodRecord
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.decision.occupancies import PodUid, Requests
from stowplan_extender.metrics import Metrics

_log = logging.getLogger(__name__)


class _Base:
    resource = ""

    def __init__(self, view: ClusterView, metrics: Metrics) -> None:
        self._view = view
        self._metrics = metrics

    def settle(self) -> None:
        """A batch is over: bring the signatures up to date while nobody waits for them."""
        self._view.settle()

    def _refused(self, head: ObjectHead, error: Exception) -> None:
        self._metrics.objects_refused.labels(self.resource).inc()
        _log.warning("an object cannot be read", extra={"resource": self.resource, "object": head.metadata.full_name, "error": str(error)})


class _Place(Manifest, frozen=True):
    node_name: str = ""


class _Whereabouts(Manifest, frozen=True):
    spec: _Place = _Place()


def _head(item: msgspec.Raw) -> ObjectHead:
    return decoding.from_json(item, ObjectHead)


class NodeStore(_Base):
    """Nodes, by name."""

    resource = "nodes"

    def put(self, item: msgspec.Raw) -> Hashable:
        """A node appeared or changed."""
        try:
            node = decoding.from_json(item, NodeManifest)
            inventory = nodes.inventory_of(node)
        except (ManifestRefused, ValueRefused) as error:
            head = _head(item)
            self._refused(head, error)
            self._lose(NodeName(head.metadata.name), "unreadable")
            return head.metadata.name
        before = self._view.stranded(inventory.name)
        self._view.put_node(inventory)
        self._tell(inventory.name, "relabelled", self._view.stranded(inventory.name), before)
        return node.metadata.name

    def drop(self, item: msgspec.Raw) -> None:
        """A node is gone."""
        self._lose(NodeName(_head(item).metadata.name), "removed")

    def retain(self, listed: set[Hashable]) -> None:
        """Drops all other nodes."""
        for name in [name for name in self._view.known_nodes() if name not in listed]:
            self._lose(name, "removed")

    def _lose(self, name: NodeName, cause: str) -> None:
        before = self._view.stranded(name)
        self._view.drop_node(name)
        self._tell(name, cause, self._view.stranded(name), before)

    def _tell(self, name: NodeName, cause: str, stranded: tuple[PodRecord, ...], before: tuple[PodRecord, ...]) -> None:
        """Names servers whose node went from under them; nobody new is put there, and what becomes of them is Kubernetes' affair."""
        if len(stranded) <= len(before):
            return
        self._metrics.stranded_pods.labels(cause).inc(len(stranded) - len(before))
        _log.warning(
            "a node no longer is what its residents were placed on",
            extra={"node": name, "cause": cause, "count": len(stranded), "pods": [record.name for record in stranded[:8]]},
        )


class PodStore(_Base):
    """Pods that are bound, and ours that are not; by UID."""

    resource = "pods"

    def put(self, item: msgspec.Raw) -> Hashable:
        """A pod appeared or changed."""
        try:
            pod = decoding.from_json(item, PodManifest)
            wanted = bool(pod.spec.node_name) or pod.spec.scheduler_name == keys.SCHEDULER_NAME
            if wanted and not pods.is_finished(pod):
                self._view.put_pod(lodgings.record_of(pod))
            else:
                self._view.drop_pod(PodUid(pod.metadata.uid))
        except ManifestRefused as error:
            head = _head(item)
            self._refused(head, error)
            self._keep(head, item, str(error))
            return head.metadata.uid
        return pod.metadata.uid

    def _keep(self, head: ObjectHead, item: msgspec.Raw, problem: str) -> None:
        """A pod that cannot be read stands where it stands: what was last read of it holds on, and its node counts where that much is readable."""
        uid = PodUid(head.metadata.uid)
        try:
            node = NodeName(decoding.from_json(item, _Whereabouts).spec.node_name)
        except ManifestRefused:
            return
        last = self._view.pod(uid) or PodRecord(uid, head.metadata.full_name, None, Requests(), None, None, problem)
        if node:
            self._view.put_pod(replace(last, node=node))

    def drop(self, item: msgspec.Raw) -> None:
        """A pod is gone, or finished and thereby outside our selector."""
        self._view.drop_pod(PodUid(_head(item).metadata.uid))

    def retain(self, listed: set[Hashable]) -> None:
        """Drops all other pods."""
        for uid in [uid for uid in self._view.known_pods() if uid not in listed]:
            self._view.drop_pod(uid)


class ServiceStore(_Base):
    """InferenceServices, by namespace and name."""

    resource = "inferenceservices"

    def put(self, item: msgspec.Raw) -> Hashable:
        """A service appeared or changed; one that says what it must not is as good as gone, and its pods are unknown tenants."""
        try:
            service = service_of(decoding.from_json(item, InferenceServiceManifest))
        except ManifestRefused as error:
            head = _head(item)
            self._refused(head, error)
            self._view.drop_service(ServiceName(head.metadata.full_name))
            return head.metadata.full_name
        self._view.put_service(service)
        return service.name

    def drop(self, item: msgspec.Raw) -> None:
        """A service is gone."""
        self._view.drop_service(ServiceName(_head(item).metadata.full_name))

    def retain(self, listed: set[Hashable]) -> None:
        """Drops all other services."""
        for name in [name for name in self._view.known_services() if name not in listed]:
            self._view.drop_service(name)


class DeviceStore(_Base):
    """ConfigMaps with device descriptors, by namespace and name."""

    resource = "configmaps"

    def __init__(self, view: ClusterView, metrics: Metrics, changed: Callable[[DeviceName], None]) -> None:
        """`changed` is called with each device that is no longer what it was."""
        super().__init__(view, metrics)
        self._changed = changed
        self._contested: frozenset[DeviceName] = frozenset()

    def put(self, item: msgspec.Raw) -> Hashable:
        """A ConfigMap appeared or changed; a descriptor in it that cannot be read leaves the others as they are."""
        try:
            configmap = decoding.from_json(item, ConfigMapManifest)
        except ManifestRefused as error:
            head = _head(item)
            self._refused(head, error)
            return head.metadata.full_name
        name = configmap.metadata.full_name
        devices, problems = descriptors.read_devices(configmap.data, f"ConfigMap {name}")
        for problem in problems:
            self._metrics.objects_refused.labels(self.resource).inc()
            _log.warning("a device descriptor cannot be read", extra={"object": name, "error": problem})
        self._tell(self._view.devices.put(name, devices))
        return name

    def drop(self, item: msgspec.Raw) -> None:
        """A ConfigMap is gone."""
        self._tell(self._view.devices.drop(_head(item).metadata.full_name))

    def retain(self, listed: set[Hashable]) -> None:
        """Drops all other ConfigMaps."""
        for source in [source for source in self._view.devices.sources if source not in listed]:
            self._tell(self._view.devices.drop(source))

    def _tell(self, devices: frozenset[DeviceName]) -> None:
        contested = self._view.devices.contested
        if contested != self._contested:
            _log.warning("several ConfigMaps describe a device differently; the first one by name counts", extra={"devices": sorted(contested)})
            self._contested = contested
            self._metrics.devices_contested.set(len(contested))
        for name in sorted(devices):
            self._changed(name)

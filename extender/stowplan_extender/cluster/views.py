"""The cluster view: what decisions are made on, kept in memory from what watches report.

Each node's signature is recomputed only when something on that node changed, and gets a number; nodes of equal signatures share the number,
so that a decision over five thousand nodes looks up numbers and judges the few distinct ones. Nothing here does I/O or waits.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from stowplan_fleet.nodes import NodeInventory, NodeName
from stowplan_fleet.services import Service, ServiceName
from stowplan_fleet.slices import SliceClass, SliceKind

from stowplan_extender.cluster import lodgings
from stowplan_extender.cluster.devices import DeviceBook
from stowplan_extender.cluster.lodgings import PodRecord
from stowplan_extender.cluster.memories import FreeMemory
from stowplan_extender.cluster.numberings import Numbering
from stowplan_extender.cluster.reservations import Reservations
from stowplan_extender.decision import occupancies
from stowplan_extender.decision.occupancies import Lodger, Newcomer, NodeState, PodUid
from stowplan_extender.decision.signatures import Signature, memory_left_bytes, signature_of


class ClusterView:
    """Nodes, pods, services and devices, and each node's signature."""

    def __init__(self, clock: Callable[[], float], reservation_limit_s: float) -> None:
        """Starts empty; `clock` counts monotonic seconds."""
        self.reservations = Reservations(clock, reservation_limit_s, self._mark)
        self.numbering = Numbering()
        self.memory = FreeMemory()
        self.devices = DeviceBook()
        self._inventories: dict[NodeName, NodeInventory] = {}
        self._pods: dict[PodUid, PodRecord] = {}
        self._on_node: dict[NodeName, dict[PodUid, PodRecord]] = {}
        self._of_service: dict[ServiceName, set[PodUid]] = {}
        self._bound: Counter[ServiceName] = Counter()
        self._felt: dict[ServiceName, Service] = {}
        """Services as their bound pods feel them; made anew where the service or the number of those pods changed."""
        self._lodgers: dict[PodUid, Lodger] = {}
        """Bound pods as decisions see them; made anew where the pod, or its service as it feels it, changed."""
        self._services: dict[ServiceName, Service] = {}
        self._changed: set[NodeName] = set()

    # Reading

    def service(self, name: ServiceName) -> Service | None:
        """A service by name; None where there is none, or it was refused."""
        return self._services.get(name)

    def pod(self, uid: PodUid) -> PodRecord | None:
        """A pod that is bound, or ours and pending."""
        return self._pods.get(uid)

    def pending(self) -> tuple[PodRecord, ...]:
        """Pods of ours that have no node yet."""
        return tuple(record for record in self._pods.values() if record.node is None)

    def node_names(self) -> tuple[NodeName, ...]:
        """Every node."""
        return tuple(self._inventories)

    def state(self, name: NodeName) -> NodeState | None:
        """A node with everyone on it, bound or promised; None for a node that is not known."""
        inventory = self._inventories.get(name)
        if inventory is None:
            return None
        bound = self._on_node.get(name, {})
        lodgers = [self._lodgers.get(uid) or self._lodge(record) for uid, record in bound.items()]
        lodgers.extend(lodger for lodger in self.reservations.on(name) if lodger.uid not in bound)
        return NodeState(inventory, tuple(lodgers))

    def stranded(self, name: NodeName) -> tuple[PodRecord, ...]:
        """Pods of ours that stand on a node whose slice class it does not offer; all of ours where the node is not known."""
        inventory = self._inventories.get(name)
        ours = (record for record in self._on_node.get(name, {}).values() if record.service is not None and record.slice_class is not None)
        return tuple(record for record in ours if inventory is None or not _offers(inventory, record.slice_class))

    def signature_for(self, newcomer: Newcomer, name: NodeName) -> Signature | None:
        """A node's signature as a newcomer meets it, who does not count there itself; None for a node that is not known."""
        state = self.state(name)
        return signature_of(state.without(newcomer.uid), newcomer.requests.memory_bytes) if state else None

    def sizes(self) -> dict[str, int]:
        """How many objects of each kind there are."""
        return {
            "nodes": len(self._inventories),
            "pods": len(self._pods),
            "services": len(self._services),
            "devices": len(self.devices),
            "signatures": len(self.numbering),
            "reservations": len(self.reservations),
        }

    def settle(self) -> None:
        """Brings the numbers of changed nodes up to date. Every decision begins with it; calling it after each batch of events keeps that short."""
        self.reservations.expire()
        for name in self._changed:
            state = self.state(name)
            self.numbering.assign(name, signature_of(state) if state else None)
            self.memory.note(name, memory_left_bytes(state) if state else None)
        self._changed.clear()

    def _lodge(self, record: PodRecord) -> Lodger:
        made = self._lodgers[record.uid] = lodgings.lodger_of(record, self._resident_service)
        return made

    def _resident_service(self, name: ServiceName) -> Service | None:
        """The service as its bound pods feel it (`occupancies.as_shared`)."""
        service = self._services.get(name)
        if service is None:
            return None
        felt = self._felt.get(name)
        if felt is None:
            felt = self._felt[name] = occupancies.as_shared(service, self._bound[name])
        return felt

    def _serving(self, name: ServiceName) -> int:
        """Over how many of its pods a service's load is spread."""
        service = self._services.get(name)
        return occupancies.sharers(service, self._bound[name]) if service is not None else 0

    # Writing

    def put_node(self, inventory: NodeInventory) -> None:
        """A node appeared or changed."""
        before = self._inventories.get(inventory.name)
        if before != inventory:
            self.devices.note(inventory.name, before, inventory)
            self._inventories[inventory.name] = inventory
            self._mark(inventory.name)

    def drop_node(self, name: NodeName) -> None:
        """A node is gone; pods that were on it stay known until they are reported gone."""
        before = self._inventories.pop(name, None)
        if before is not None:
            self.devices.note(name, before, None)
            self._mark(name)

    def put_pod(self, record: PodRecord) -> None:
        """A pod appeared, was bound or changed."""
        if record.node is not None:
            # Wherever else it may have been promised a place, this is where it is.
            self.reservations.release(record.uid)
        if self._pods.get(record.uid) == record:
            return
        self._forget(record.uid)
        self._pods[record.uid] = record
        if record.service is not None:
            self._of_service.setdefault(record.service, set()).add(record.uid)
        if record.node is not None:
            self._on_node.setdefault(record.node, {})[record.uid] = record
            self._mark(record.node)
            self._count(record.service, 1)

    def drop_pod(self, uid: PodUid) -> None:
        """A pod is gone, or finished."""
        self.reservations.release(uid)
        self._forget(uid)

    def put_service(self, service: Service) -> None:
        """A service appeared or changed."""
        if self._services.get(service.name) != service:
            self._services[service.name] = service
            self._mark_service(service.name)

    def drop_service(self, name: ServiceName) -> None:
        """A service is gone, or can no longer be read."""
        if self._services.pop(name, None):
            self._mark_service(name)

    def known_nodes(self) -> Iterable[NodeName]:
        """Names of all nodes."""
        return self._inventories.keys()

    def known_pods(self) -> Iterable[PodUid]:
        """UIDs of all pods kept."""
        return self._pods.keys()

    def known_services(self) -> Iterable[ServiceName]:
        """Names of all services kept."""
        return self._services.keys()

    def _forget(self, uid: PodUid) -> None:
        record = self._pods.pop(uid, None)
        if record is None:
            return
        self._lodgers.pop(uid, None)
        if record.service is not None:
            self._of_service[record.service].discard(uid)
            if not self._of_service[record.service]:
                del self._of_service[record.service]
        if record.node is not None:
            del self._on_node[record.node][uid]
            if not self._on_node[record.node]:
                del self._on_node[record.node]
            self._mark(record.node)
            self._count(record.service, -1)

    def _mark(self, name: NodeName) -> None:
        self._changed.add(name)

    def _count(self, name: ServiceName | None, change: int) -> None:
        """The bound pods of a service share its load, wherever they are: where one more or less changes each one's part, all of them are marked."""
        if name is None:
            return
        before = self._serving(name)
        self._bound[name] += change
        if not self._bound[name]:
            del self._bound[name]
        if self._serving(name) != before:
            self._mark_service(name)

    def _mark_service(self, name: ServiceName) -> None:
        self._felt.pop(name, None)
        for uid in self._of_service.get(name, ()):
            node = self._pods[uid].node
            if node is not None:
                self._lodgers.pop(uid, None)
                self._changed.add(node)


def _offers(inventory: NodeInventory, slice_class: SliceClass | None) -> bool:
    """Whether a node has slices of that class, taken or not."""
    if slice_class is None or slice_class.slice.kind is SliceKind.CPU:
        return slice_class is not None and slice_class.device == inventory.cpu_device
    return any(offer.slice_class == slice_class for offer in inventory.offers)

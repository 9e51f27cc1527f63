"""Reservations: places promised in memory from the moment of binding until the watch shows the pod bound or gone.

Held by pod UID, because one pod may have promises on two nodes: where an answer of the API server was lost, the first binding may still
come true while the scheduler already tries a second node. There are no locks here; whoever promises holds the node's lock (`bindings`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from stowplan_fleet.nodes import NodeName

from stowplan_extender.decision.occupancies import Lodger, PodUid


@dataclass(frozen=True, slots=True)
class _Promise:
    lodger: Lodger
    until_s: float


class Reservations:
    """Who was promised a place where, and until when."""

    def __init__(self, clock: Callable[[], float], limit_s: float, changed: Callable[[NodeName], None]) -> None:
        """Starts empty.

        Args:
            clock: monotonic seconds.
            limit_s: how long a promise holds when nothing more is heard of the pod.
            changed: called with a node whenever a promise there appears or goes.
        """
        self._clock = clock
        self._limit_s = limit_s
        self._changed = changed
        self._nodes: dict[NodeName, dict[PodUid, _Promise]] = {}
        self._uids: dict[PodUid, set[NodeName]] = {}

    def __len__(self) -> int:
        """How many promises there are."""
        return sum(len(promises) for promises in self._nodes.values())

    def promise(self, node: NodeName, lodger: Lodger) -> None:
        """Promises a place; promising it again starts its time anew."""
        self._nodes.setdefault(node, {})[lodger.uid] = _Promise(lodger, self._clock() + self._limit_s)
        self._uids.setdefault(lodger.uid, set()).add(node)
        self._changed(node)

    def on(self, node: NodeName) -> tuple[Lodger, ...]:
        """To whom places on a node are promised."""
        return tuple(promise.lodger for promise in self._nodes.get(node, {}).values())

    def nodes_of(self, uid: PodUid) -> frozenset[NodeName]:
        """Where a pod was promised a place."""
        return frozenset(self._uids.get(uid, ()))

    def release(self, uid: PodUid, node: NodeName | None = None) -> None:
        """Takes back what a pod was promised on a node, or everywhere."""
        for name in self.nodes_of(uid) if node is None else self.nodes_of(uid) & {node}:
            del self._nodes[name][uid]
            self._uids[uid].discard(name)
            if not self._nodes[name]:
                del self._nodes[name]
            self._changed(name)
        if uid in self._uids and not self._uids[uid]:
            del self._uids[uid]

    def expire(self) -> tuple[PodUid, ...]:
        """Takes back the promises whose time is over; whose they were."""
        now = self._clock()
        over = [(uid, node) for node, promises in self._nodes.items() for uid, promise in promises.items() if promise.until_s <= now]
        for uid, node in over:
            self.release(uid, node)
        return tuple(uid for uid, _ in over)

"""Reservations: places promised in memory from the moment of binding until the watch shows the pod bound or gone.

Held by pod UID, because one pod may have promises on two nodes: where an answer of the API server was lost, the first binding may still
come true while the scheduler already tries a second node. There are no locks here; whoever promises holds the node's lock (`bindings`).
A promise in doubt ends with its time. One whose binding is known to be written does not: a watch that is silent must not make us forget what
we did ourselves; whoever looks after promises (`upkeeps`) asks the API server what became of the pod.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from stowplan_fleet.nodes import NodeName

from stowplan_extender.decision.occupancies import Lodger, PodUid


@dataclass(frozen=True, slots=True)
class _Promise:
    lodger: Lodger
    name: str
    made_s: float
    written: bool = False


@dataclass(frozen=True, slots=True)
class Overdue:
    """A promise that should have been confirmed by now."""

    uid: PodUid
    name: str
    """`namespace/name` of the pod."""
    node: NodeName


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
        self._expiry_s = math.inf
        """Before this no promise ends."""

    def __len__(self) -> int:
        """How many promises there are."""
        return sum(len(promises) for promises in self._nodes.values())

    def promise(self, node: NodeName, lodger: Lodger, name: str = "") -> None:
        """Promises a place to a pod, `namespace/name`; promising it again starts its time anew."""
        promise = self._nodes.setdefault(node, {})[lodger.uid] = _Promise(lodger, name, self._clock())
        self._expiry_s = min(self._expiry_s, promise.made_s + self._limit_s)
        self._uids.setdefault(lodger.uid, set()).add(node)
        self._changed(node)

    def written(self, uid: PodUid, node: NodeName) -> None:
        """The pod is known to be bound there: its promise holds until somebody releases it."""
        promise = self._nodes.get(node, {}).get(uid)
        if promise is not None:
            self._nodes[node][uid] = replace(promise, written=True)

    def overdue(self, after_s: float) -> tuple[Overdue, ...]:
        """Promises made more than so many seconds ago, of pods whose names are known."""
        until = self._clock() - after_s
        entries = ((uid, node, promise) for node, promises in self._nodes.items() for uid, promise in promises.items())
        return tuple(Overdue(uid, promise.name, node) for uid, node, promise in entries if promise.made_s <= until and promise.name)

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
        """Takes back the promises in doubt whose time is over; whose they were."""
        now = self._clock()
        if now < self._expiry_s:
            return ()
        entries = ((uid, node, promise) for node, promises in self._nodes.items() for uid, promise in promises.items())
        doubtful = [(promise.made_s + self._limit_s, uid, node) for uid, node, promise in entries if not (promise.written and promise.name)]
        over = [(uid, node) for end_s, uid, node in doubtful if end_s <= now]
        self._expiry_s = min((end_s for end_s, _, _ in doubtful if end_s > now), default=math.inf)
        for uid, node in over:
            self.release(uid, node)
        return tuple(uid for uid, _ in over)

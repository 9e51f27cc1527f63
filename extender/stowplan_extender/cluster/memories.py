"""Memories: how much memory is left on each node, and which nodes have too little for a pod.

Apart from signatures, because of machines of one kind no two have the same memory to the byte: each node would be a kind of its own.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from stowplan_fleet.nodes import NodeName

# Amounts that pods ask for; services have few.
_AMOUNTS_MAX: Final = 64


class FreeMemory:
    """Bytes left by node."""

    def __init__(self) -> None:
        self._left: dict[NodeName, int] = {}
        self._short: dict[int, set[NodeName]] = {}

    def note(self, node: NodeName, left_bytes: int | None) -> None:
        """So much is left there from now on; None: the node is gone."""
        if left_bytes is None:
            self._left.pop(node, None)
        else:
            self._left[node] = left_bytes
        for amount, short in self._short.items():
            if left_bytes is not None and left_bytes < amount:
                short.add(node)
            else:
                short.discard(node)

    def short_of(self, amount_bytes: int) -> AbstractSet[NodeName]:
        """Nodes with less than that; valid until the next note."""
        found = self._short.get(amount_bytes)
        if found is None:
            if len(self._short) >= _AMOUNTS_MAX:
                self._short.clear()
            found = self._short[amount_bytes] = {node for node, left in self._left.items() if left < amount_bytes}
        return found

"""Groupings: from fuse-or-not of each edge to groups of operators that can run one after the other.

Edges are joined by union-find (paper 001, section 3.2). A kernel must not wait for itself through another one: groups on a cycle lose the edge that was least
sure to be fused, until there is no cycle.
"""

from collections.abc import Iterable, Mapping, Sequence

from stowplan_predictor.fusion.flows import Flow, Group
from stowplan_predictor.fusion.layouts import is_scale

Edge = tuple[int, int]


class UnionFind:
    """Sets of numbers that grow together."""

    def __init__(self, members: Iterable[int]) -> None:
        self._parents = {member: member for member in members}

    def root(self, member: int) -> int:
        """Who stands for the set of a member."""
        while self._parents[member] != member:
            self._parents[member] = self._parents[self._parents[member]]
            member = self._parents[member]
        return member

    def join(self, left: int, right: int) -> None:
        """Makes two sets one; the lower root stands for both."""
        left, right = sorted((self.root(left), self.root(right)))
        self._parents[right] = left


def groups(operators: Sequence[int], edges: Sequence[Edge], fused: Mapping[Edge, float]) -> dict[int, int]:
    """Root of each operator's group, such that no group waits for itself.

    Args:
        operators: live ones.
        edges: all edges between them.
        fused: how sure it is that an edge is fused, for those that are to be.
    """
    kept = dict(fused)
    while True:
        sets = UnionFind(operators)
        for left, right in kept:
            sets.join(left, right)
        roots = {index: sets.root(index) for index in operators}
        stuck = _on_cycles({(roots[left], roots[right]) for left, right in edges if roots[left] != roots[right]})
        weakest: dict[int, Edge] = {}
        for edge in sorted(kept, key=lambda edge: (kept[edge], edge)):
            if roots[edge[0]] in stuck:
                weakest.setdefault(roots[edge[0]], edge)
        if not stuck:
            return roots
        # Single operators never form a cycle, so a group on one has an edge to lose.
        for edge in weakest.values():
            del kept[edge]


def _on_cycles(edges: set[Edge]) -> set[int]:
    """Nodes on a cycle, or between two: what is left when whoever waits for nobody is taken away, and then whoever nobody waits for."""
    left = _waiting(edges)
    return _waiting({(reader, writer) for writer, reader in edges if writer in left and reader in left})


def _waiting(edges: set[Edge]) -> set[int]:
    """Nodes that are never free, where a node is free once all it waits for are (Kahn)."""
    followers: dict[int, list[int]] = {}
    waits: dict[int, int] = {}
    for writer, reader in edges:
        followers.setdefault(writer, []).append(reader)
        waits[reader] = waits.get(reader, 0) + 1
        waits.setdefault(writer, 0)
    free = [node for node, count in waits.items() if count == 0]
    while free:
        for reader in followers.get(free.pop(), ()):
            waits[reader] -= 1
            if waits[reader] == 0:
                free.append(reader)
    return {node for node, count in waits.items() if count > 0}


def regroup(flow: Flow, roots: Mapping[int, int]) -> None:
    """Puts the live operators of a flow into other groups; one that the rules formed as well keeps its type and anchor."""
    members: dict[int, list[int]] = {}
    for index, root in roots.items():
        members.setdefault(root, []).append(index)
    formed = {frozenset(group.members): group for group in flow.groups.values()}
    folded: set[int] = set()
    for indices in members.values():
        group = formed.get(frozenset(indices))
        if group is None:
            group = _group(flow, sorted(indices))
        if flow.graph.operators[group.anchor].op_type in {"Conv", "MaxPool"}:
            folded.update(flow.folded.intersection(indices) - {group.anchor})
        for index in indices:
            flow.groups[index] = group
    flow.folded = folded


def _group(flow: Flow, indices: list[int]) -> Group:
    """A group that no rule formed: the largest of its operators' former groups says what it is, else its heaviest operator."""
    inside = set(indices)
    former = {id(flow.groups[index]): flow.groups[index] for index in indices}
    whole = [group for group in former.values() if group.type is not None and inside.issuperset(group.members)]
    if whole:
        best = max(whole, key=lambda group: len(group.members))
        return Group(best.anchor, indices, best.type)
    anchor = max(indices, key=lambda index: (flow.graph.operators[index].flops, is_scale(flow, flow.graph.operators[index]), -index))
    return Group(anchor, indices)

"""Orders: the nodes of a graph that its outputs need, each after what it reads."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence

from onnx import AttributeProto, GraphProto, NodeProto

from stowplan_predictor.errors import ModelUnreadable
from stowplan_predictor.graphs.attributes import clipped


def shown(node: NodeProto) -> str:
    """How errors name a node."""
    called = clipped(node.name) if node.name else f"that writes {clipped(node.output[0])}" if node.output else "without a name"
    return f"node {called} ({node.op_type[:128]})"


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Graphs among the node's attributes."""
    for a in node.attribute:
        if a.type == AttributeProto.GRAPH:
            yield a.g
        elif a.type == AttributeProto.GRAPHS:
            yield from a.graphs


def _reads(node: NodeProto, visit: Callable[[int], None]) -> Iterator[str]:
    """Names that the node or a graph inside it reads, some perhaps written inside that graph; `visit` is told how many nodes were looked at inside."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield from current.input
        for graph in subgraphs(current):
            yield from (value.name for value in graph.output)
            visit(len(graph.node))
            pending.extend(graph.node)


def _writers(nodes: Sequence[NodeProto]) -> dict[str, int]:
    writers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.output:
            if not name:
                continue
            if name in writers:
                raise ModelUnreadable(
                    f"{shown(node)}: writes {clipped(name)}, which {shown(nodes[writers[name]])} writes already; each name is written once in ONNX"
                )
            writers[name] = index
    return writers


def ordered(nodes: Sequence[NodeProto], wanted: Iterable[str], visit: Callable[[int], None]) -> list[NodeProto]:
    """The nodes that `wanted` needs, in file order wherever that order holds.

    Args:
        nodes: of one graph.
        wanted: names that are needed.
        visit: is told how many nodes of graphs inside nodes were looked at; may refuse to go on.

    Raises:
        ModelUnreadable: two nodes write the same tensor, or nodes wait for each other.

    """
    writers = _writers(nodes)
    needs: dict[int, set[int]] = {}
    pending = [writers[name] for name in wanted if name in writers]
    while pending:
        index = pending.pop()
        if index in needs:
            continue
        needs[index] = {writers[name] for name in _reads(nodes[index], visit) if name in writers}
        pending.extend(needs[index])
    readers: dict[int, list[int]] = {index: [] for index in needs}
    for index, before in needs.items():
        for other in before:
            readers[other].append(index)
    waiting = {index: len(before) for index, before in needs.items()}
    ready = [index for index, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order: list[NodeProto] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for reader in readers[index]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(needs):
        stuck = min(index for index, count in waiting.items() if count)
        raise ModelUnreadable(f"{shown(nodes[stuck])}: waits for its own output; a graph must not have cycles")
    return order

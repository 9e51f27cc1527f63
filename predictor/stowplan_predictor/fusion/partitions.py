"""Partitions: from groups of live operators to kernels in topological order, with the sums that a latency model needs."""

from heapq import heapify, heappop, heappush

from stowplan_predictor.fusion.flows import Flow, Group
from stowplan_predictor.fusion.fused_kernels import Kernel, KernelType
from stowplan_predictor.graphs.opgraphs import Operator, OpGraph


def kernels(flow: Flow) -> tuple[Kernel, ...]:
    """One kernel a group, in topological order; every operator of the graph belongs to exactly one.

    Raises:
        AssertionError: groups wait for each other: whoever formed them took an operator whose result a group between them reads.
    """
    members = _members(flow)
    home = {index: number for number, (_, indices) in enumerate(members) for index in indices}
    found = []
    for position, number in enumerate(_order(flow.graph, members, home)):
        group, indices = members[number]
        found.append(_kernel(flow, position, group, indices))
    return tuple(found)


def _members(flow: Flow) -> list[tuple[Group, list[int]]]:
    """Groups with all their operators, eliminated ones with who feeds them (at the graph's inputs: with the one kernel that reads them, else alone)."""
    found: dict[int, tuple[Group, list[int]]] = {}
    for op in flow.operators():
        group = flow.groups[op.index]
        found.setdefault(id(group), (group, []))[1].append(op.index)
    by_operator = {index: entry for entry in found.values() for index in entry[1]}
    orphans: dict[str, tuple[Group, list[int]]] = {}
    for index, owner in flow.owner.items():
        if owner >= 0:
            by_operator[owner][1].append(index)
            continue
        source = flow.resolve(flow.graph.operators[index].inputs[0])
        readers = {id(by_operator[reader][0]): reader for reader in flow.readers.get(source, ())}
        if len(readers) == 1:
            by_operator[next(iter(readers.values()))][1].append(index)
        else:
            orphans.setdefault(source, (Group(index, [index]), []))[1].append(index)
    return [(group, sorted(indices)) for group, indices in (*found.values(), *orphans.values())]


def _order(graph: OpGraph, members: list[tuple[Group, list[int]]], home: dict[int, int]) -> list[int]:
    """Topological order of the groups, the earliest last operator first."""
    feeds: list[set[int]] = [set() for _ in members]
    waits = [0] * len(members)
    for left, right in graph.edges:
        if home[left] != home[right] and home[right] not in feeds[home[left]]:
            feeds[home[left]].add(home[right])
            waits[home[right]] += 1
    ready = [(members[number][1][-1], number) for number, count in enumerate(waits) if count == 0]
    heapify(ready)
    order = []
    while ready:
        _, number = heappop(ready)
        order.append(number)
        for follower in feeds[number]:
            waits[follower] -= 1
            if waits[follower] == 0:
                heappush(ready, (members[follower][1][-1], follower))
    if len(order) != len(members):
        raise AssertionError("kernels form a cycle: a fusion rule took an operator whose result a kernel between them reads")
    return order


def _kernel(flow: Flow, position: int, group: Group, indices: list[int]) -> Kernel:
    graph = flow.graph
    inside = set(indices)
    operators = [graph.operators[index] for index in indices]
    inputs = dict.fromkeys(name for op in operators for name in op.inputs if name and not flow.parameter(name) and graph.producers.get(name, -1) not in inside)
    outputs = [name for op in operators for name in op.outputs if name and (name in flow.graph_outputs or not inside.issuperset(graph.consumers.get(name, ())))]
    working = [op for op in operators if op.index not in flow.owner]
    anchor = graph.operators[group.anchor]
    if len(working) == 1:
        input_bytes, output_bytes = working[0].input_bytes, working[0].output_bytes
    else:
        input_bytes = sum(graph.tensors[name].bytes for name in dict.fromkeys(flow.resolve(name) for name in inputs))
        output_bytes = sum(graph.tensors[name].bytes for name in dict.fromkeys(flow.resolve(name) for name in outputs))
    unfolded = [op for op in working if op.index not in flow.folded]
    return Kernel(
        index=position,
        type=KernelType(group.type or refined_type(graph, anchor)),
        operators=tuple(indices),
        anchor=group.anchor,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        flops=sum(op.flops for op in unfolded),
        input_bytes=input_bytes,
        output_bytes=output_bytes,
        parameter_bytes=sum(op.parameter_bytes for op in unfolded),
    )


def refined_type(graph: OpGraph, op: Operator) -> str:
    """The operator's type; convolutions by how much work a weight does: `PointwiseConv`, `DepthwiseConv`, `GroupedConv` or `Conv`."""
    if op.op_type != "Conv":
        return op.op_type
    groups = op.attributes.get("group", 1)
    weight = graph.tensors[op.inputs[1]].shape if len(op.inputs) > 1 else ()
    if len(weight) < 2:
        return op.op_type
    if isinstance(groups, int) and groups > 1:
        return "DepthwiseConv" if weight[1] == 1 and weight[0] == groups else "GroupedConv"
    return "PointwiseConv" if all(size == 1 for size in weight[2:]) else "Conv"

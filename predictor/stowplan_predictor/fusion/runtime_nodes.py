"""Runtime nodes: which operators of the original graph each node of the optimised graph does the work of.

A tensor of the original graph that the runtime still writes is an end of a node's work; going back from it to the next tensors that are written gives the
operators between. Of these, the node does those that its type can do (`node_types`); the others vanished. Most names change on the way: the layout
optimiser calls its nodes `<output>_nchwc` and their outputs `reorder_token_<n>`, a product that became a Gemm keeps its name before `/MatMulAddFusion`. Those
spellings are resolved here; what cannot be resolved is counted, never guessed.
"""

import re
from collections import Counter
from typing import Final

import onnx

from stowplan_predictor.fusion import node_types
from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.graphs.opgraphs import OpGraph

# What the layout optimiser appends to names; a number follows where the name was taken.
_BLOCKED: Final = re.compile(r"(?:_bn|_mul)?_nchwc(?:_token_\d+)?$")
# A batch normalization or a scale that became a convolution of its own.
_BLOCKED_OWN: Final = re.compile(r"(?:_bn|_mul)_nchwc(?:_token_\d+)?$")
# Nodes that the runtime inserts around others.
_INSERTED: Final = frozenset({"ReorderInput", "ReorderOutput"})
# Nodes that it also inserts: where the tensor they write was computed by an operator of another type, they only move it.
_MOVERS: Final = _INSERTED | {"Transpose", "Reshape", "Squeeze", "Cast", "Identity"}


class Matching:
    """Nodes laid on operators.

    Attributes:
        written: tensors of the original graph that some node writes (perhaps in another layout).
        workers: by operator, the positions of the nodes that do its work.
    """

    def __init__(self, graph: OpGraph, nodes: list[onnx.NodeProto]) -> None:
        self.graph = graph
        self.flow = Flow(graph)
        self.nodes = nodes
        self.written: set[str] = set()
        self.workers: dict[int, set[int]] = {}
        self._twins = node_types.twins(self.flow)
        self._named_operators = {op.name: op.index for op in graph.operators if op.name}
        self._found: dict[int, int] = {}
        self._ends: dict[int, list[str]] = {}
        self._readers: dict[str, list[int]] = {}
        for position, node in enumerate(nodes):
            for name in node.input:
                self._readers.setdefault(name, []).append(position)
        self._match()
        for position in range(len(nodes)):
            for index in self._work(position):
                self.workers.setdefault(index, set()).add(position)

    def owners(self) -> dict[str, int]:
        """Operator by node name; a name that several nodes carry (an empty one, mostly) owns nothing: a profile could not be laid on it."""
        counts = Counter(node.name for node in self.nodes)
        return {
            self.nodes[position].name: index for position, index in self._found.items() if counts[self.nodes[position].name] == 1 and self.nodes[position].name
        }

    def unmatched_nodes(self) -> tuple[str, ...]:
        """`<type> <name>` of the nodes that belong to no operator."""
        return tuple(f"{node.op_type} {node.name}" for position, node in enumerate(self.nodes) if position not in self._found)

    def may_vanish(self, index: int) -> bool:
        """True for an operator that the runtime can do without: eliminated, a view, pointless for some value, merged with an equal one."""
        if index in self.flow.owner or node_types.changes_nothing_perhaps(self.flow, self.graph.operators[index]):
            return True
        return any(self.workers.get(twin) for twin in self._twins[index])

    def _match(self) -> None:
        for position, node in enumerate(self.nodes):
            self._note(position, *self._operator(node))
        rest = [position for position in range(len(self.nodes)) if position not in self._found]
        # Readers lie behind: from the last one back, each nameless node finds its reader resolved.
        for position in reversed(rest):
            if self.nodes[position].op_type not in _INSERTED:
                tensor = self._fed(position)
                if tensor:
                    self._note(position, self.graph.producers[tensor], [tensor])
        for position in rest:
            if position not in self._found:
                self._note(position, self._served(position), [])

    def _note(self, position: int, operator: int | None, tensors: list[str]) -> None:
        if operator is not None:
            self._found[position] = operator
            # A node behind which an eliminated operator stood may have taken over that one's name.
            self._ends[position] = [name for name in map(self.flow.resolve, tensors) if name in self.graph.producers]
            self.written.update(tensors, self._ends[position])

    def _operator(self, node: onnx.NodeProto) -> tuple[int | None, list[str]]:
        """The operator that a node does the work of, and which tensors it writes."""
        if node.domain.endswith("nchwc"):
            start = _BLOCKED.sub("", node.name)
            if start in self.graph.producers and start != node.name:
                return self._blocked(node, start)
        if node.name.endswith("GatherSliceToSplitFusion"):
            return self._split(node)
        known = [name for name in node.output if name in self.graph.producers]
        named = self._named(node.name)
        if known:
            return (named if named is not None and node.op_type not in _INSERTED else self.graph.producers[known[0]]), known
        if named is None:
            return None, []
        if node.name.endswith("MatMulAddFusion"):
            return named, [self._next(self.graph.operators[named].outputs[0], frozenset({"Add"}))]
        return named, [name for name in self.graph.operators[named].outputs if name]

    def _split(self, node: onnx.NodeProto) -> tuple[int | None, list[str]]:
        """A split that took the place of the slices and gathers of one tensor."""
        named = self._named(node.name)
        if named is None:
            return None, []
        cut = self.flow.inputs(self.graph.operators[named])[0]
        siblings = [self.graph.operators[index] for index in self.flow.readers[cut]]
        return named, [op.outputs[0] for op in siblings if op.op_type in {"Slice", "Gather"} and self.flow.inputs(op)[0] == cut]

    def _blocked(self, node: onnx.NodeProto, tensor: str) -> tuple[int, list[str]]:
        """A node of the blocked layout: it starts with the operator that wrote `tensor`, and may have taken an addition and an activation since."""
        start = self.graph.producers[tensor]
        if _BLOCKED_OWN.search(node.name) is None:
            start = self._anchor(start, node.op_type)
        if len(node.input) > 3 and node.input[3]:
            tensor = self._next(tensor, frozenset({"Add", "Sum"}), past=node_types.POINTLESS)
        activated = any(attribute.name == "activation" for attribute in node.attribute)
        producer = self.graph.operators[self.graph.producers[tensor]]
        if activated and producer.op_type not in node_types.ACTIVATIONS:
            tensor = self._next(tensor, node_types.ACTIVATIONS)
        return start, [tensor]

    def _anchor(self, index: int, op_type: str) -> int:
        """The operator of a type at or before `index`, along first activations; `index` itself where there is none."""
        current = index
        while self.graph.operators[current].op_type != op_type:
            activations = self.flow.activations(self.graph.operators[current])
            before = self.flow.producer_index(activations[0]) if activations else -1
            if before < 0:
                return index
            current = before
        return current

    def _next(self, tensor: str, types: frozenset[str], past: frozenset[str] = frozenset()) -> str:
        """What the reader of one of those types makes of a tensor, an operator with a constant of one element skipped if its type is in `past`."""
        for index in self.flow.readers.get(self.flow.resolve(tensor), ()):
            op = self.graph.operators[index]
            if op.op_type in past and node_types.changes_nothing_perhaps(self.flow, op):
                return self._next(op.outputs[0], types)
            if op.op_type in types:
                return op.outputs[0]
        return tensor

    def _named(self, name: str) -> int | None:
        """The operator whose name a node's name continues."""
        if name in self._named_operators:
            return self._named_operators[name]
        parts = name.rstrip("/").split("/")
        for length in range(len(parts) - 1, 0, -1):
            found = self._named_operators.get("/".join(parts[:length]))
            if found is not None:
                return found
        return None

    def _fed(self, position: int) -> str | None:
        """The tensor that a resolved reader takes from a nameless node, by the place of the input."""
        for name in self.nodes[position].output:
            for reader in self._readers.get(name, ()):
                tensor = self._read(reader, name)
                if tensor in self.graph.producers:
                    return tensor
        return None

    def _read(self, reader: int, name: str) -> str | None:
        """What a tensor that a resolved node reads is called in the original graph; None where its place does not say."""
        node = self.nodes[reader]
        if reader not in self._found:
            return None
        if node.op_type in _MOVERS and self._ends[reader]:
            return self._ends[reader][0]
        operator = self.graph.operators[self._found[reader]]
        place = list(node.input).index(name)
        same = node.op_type == operator.op_type
        if place == 0 or (same and place < len(operator.inputs) and place < node_types.BLOCKED_SUM):
            return self.flow.resolve(operator.inputs[place])
        return None

    def _served(self, position: int) -> int | None:
        """Whom an inserted node serves: who reads it, else who feeds it."""
        node = self.nodes[position]
        for name in node.output:
            for reader in self._readers.get(name, ()):
                if reader in self._found:
                    return self._found[reader]
        for other, owner in self._found.items():
            if set(node.input) & set(self.nodes[other].output):
                return owner
        return None

    def _work(self, position: int) -> set[int]:
        """The operators that a node really does, of those between what it writes and what others write."""
        ends = [self.graph.producers[name] for name in self._ends.get(position, ())]
        node = self.nodes[position]
        if not ends or (node.op_type in _MOVERS and all(self.graph.operators[index].op_type != node.op_type for index in ends)):
            return set()
        between, todo = set(), list(ends)
        while todo:
            index = todo.pop()
            if index in between:
                continue
            between.add(index)
            inputs = self.flow.inputs(self.graph.operators[index])
            todo.extend(self.graph.producers[name] for name in inputs if name not in self.written and name in self.graph.producers)
        transposes = any(attribute.name.startswith("trans") and attribute.i for attribute in node.attribute)
        done = node_types.done(self.flow, node.op_type, between, self._found[position], ends)
        # A transpose before a product that transposes nothing was cancelled by another one.
        return {index for index in done if transposes or self.graph.operators[index].op_type != "Transpose" or node.op_type == "Transpose"}

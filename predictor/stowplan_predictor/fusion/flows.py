"""Flows: a graph after eliminations, and the groups of operators that grow on it while rules are applied.

Eliminated operators vanish from the runtime's graph: what they write is another name for what they read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stowplan_predictor.graphs.opgraphs import Operator, OpGraph

# Operators with sub-graphs (not kept in `OpGraph`) or chance in them: two of them are never the same computation.
_NEVER_EQUAL = frozenset({"If", "Loop", "Scan", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"})


@dataclass(slots=True)
class Group:
    """Operators that shall run as one kernel."""

    anchor: int
    """Index of the operator that does the work."""
    members: list[int]
    """Live operators, in the order in which they joined."""
    type: str | None = None
    """What the rule that made it calls it; None where the anchor's own type says it."""
    end: str = ""
    """The tensor that a following operator would read to join: the output of the last member."""
    activated: bool = False
    """True once an activation has joined: nothing can join after it."""
    residual: bool = False
    """True once a second activation is added into its result."""


class Flow:
    """The live operators of a graph, who reads whom past eliminated ones, and their groups."""

    def __init__(self, graph: OpGraph) -> None:
        self.graph = graph
        self.alias: dict[str, str] = {}
        """What an eliminated operator writes, by what stands for it."""
        self.owner: dict[int, int] = {}
        """Live operator that an eliminated one goes with; -1 where it reads only the graph's inputs."""
        self.folded: set[int] = set()
        """Live operators that melt into their group's weights: no work at run time."""
        self.graph_outputs = frozenset(graph.outputs)
        """Names of the graph's outputs."""
        self._eliminate()
        self._inputs = [tuple(self.resolve(name) for name in op.inputs if name) for op in graph.operators]
        self.readers: dict[str, list[int]] = {}
        for op in self.operators():
            for name in dict.fromkeys(self.inputs(op)):
                self.readers.setdefault(name, []).append(op.index)
        self.outputs = {self.resolve(name) for name in graph.outputs}
        self.groups: dict[int, Group] = {}
        for op in self.operators():
            self.groups[op.index] = Group(op.index, [op.index], end=op.outputs[0] if op.outputs else "")

    def _eliminate(self) -> None:
        twins: dict[object, Operator] = {}
        for op in self.graph.operators:
            if eliminated(self.graph, op):
                source = self.resolve(op.inputs[0])
                self.alias[op.outputs[0]] = source
                self.owner[op.index] = self.producer_index(source)
                continue
            key = (op.domain, op.op_type, tuple(self.resolve(name) for name in op.inputs), tuple(sorted(op.attributes.items())), len(op.outputs))
            twin = twins.setdefault(key, op) if op.op_type not in _NEVER_EQUAL else op
            if twin is not op and not self.graph_outputs.intersection(op.outputs):
                self.alias.update(zip(op.outputs, twin.outputs, strict=True))
                self.owner[op.index] = twin.index

    def resolve(self, name: str) -> str:
        """The tensor that really holds what `name` names."""
        return self.alias.get(name, name)

    def inputs(self, op: Operator) -> tuple[str, ...]:
        """Resolved inputs, absent ones left out."""
        return self._inputs[op.index]

    def activations(self, op: Operator) -> tuple[str, ...]:
        """Resolved inputs that depend on the request."""
        return tuple(name for name in self.inputs(op) if not self.parameter(name))

    def operators(self) -> Iterator[Operator]:
        """Live operators in topological order."""
        return (op for op in self.graph.operators if op.index not in self.owner)

    def parameter(self, name: str) -> bool:
        """True where a tensor's value does not depend on the request."""
        return self.graph.tensors[name].parameter

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self.graph.tensors[name].shape

    def producer_index(self, name: str) -> int:
        """Index of the operator that writes a resolved tensor; -1 for an input or a parameter."""
        return self.graph.producers.get(name, -1)

    def producer(self, name: str) -> Operator | None:
        """The operator that writes a resolved tensor; None for an input or a parameter."""
        index = self.producer_index(name)
        return None if index < 0 else self.graph.operators[index]

    def private(self, name: str) -> bool:
        """True where exactly one operator reads a resolved tensor and the graph does not put it out."""
        return len(self.readers.get(name, ())) == 1 and name not in self.outputs

    def group_of(self, name: str) -> Group | None:
        """The group that writes a resolved tensor as its result."""
        index = self.producer_index(name)
        group = self.groups.get(index)
        return group if group is not None and group.end == name else None

    def single(self, op: Operator) -> bool:
        """True where nothing has been fused with an operator yet."""
        return len(self.groups[op.index].members) == 1

    def join(self, group: Group, op: Operator) -> None:
        """Puts the group of `op` behind `group`; the result is what that group wrote."""
        other = self.groups[op.index]
        group.members.extend(other.members)
        group.end = other.end
        group.activated |= other.activated
        for index in other.members:
            self.groups[index] = group

    def absorb(self, group: Group, op: Operator) -> None:
        """Puts the group of `op` before `group`, whose result stays the result."""
        end = group.end
        self.join(group, op)
        group.end = end


def eliminated(graph: OpGraph, op: Operator) -> bool:
    """True for an operator that the runtime removes because it changes nothing.

    The rules are ONNX Runtime's: identity, dropout in inference, a cast to its own type, an expansion to its own shape (`EliminateIdentity`,
    `EliminateDropout`, `CastElimination`, `ExpandElimination`). A slice or pad of the whole, or a concatenation of one, runs and copies.
    """
    if op.domain not in {"", "ai.onnx"} or not op.inputs or not op.inputs[0] or not op.outputs[0]:
        return False
    source, target = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    masks_read = any(name in graph.consumers or name in graph.outputs for name in op.outputs[1:])
    if masks_read or source.parameter or (op.inputs[0] in graph.inputs and op.outputs[0] in graph.outputs):
        return False
    if op.op_type == "Expand":
        return source.shape == target.shape
    return op.op_type in {"Identity", "Dropout"} or (op.op_type == "Cast" and source.dtype == target.dtype)

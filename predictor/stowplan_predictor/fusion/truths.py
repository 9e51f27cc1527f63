"""Fusion truths: what ONNX Runtime really fused, read off the optimised model that it saves.

A tensor of the original graph that still exists in the optimised one separates kernels; one that is gone lay inside a kernel. Most names change on the way:
the layout optimiser calls its nodes `<output>_nchwc` and their outputs `reorder_token_<n>`, a product that became a Gemm keeps its name before
`/MatMulAddFusion`. Those spellings are resolved here; what cannot be resolved is counted, never guessed.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import onnx
from google.protobuf.message import DecodeError

from stowplan_predictor.errors import ModelUnreadable
from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.graphs.opgraphs import OpGraph

# What the layout optimiser appends to names; a number follows where the name was taken.
_BLOCKED: Final = re.compile(r"(?:_bn|_mul)?_nchwc(?:_token_\d+)?$")
# A batch normalization or a scale that became a convolution of its own.
_BLOCKED_OWN: Final = re.compile(r"(?:_bn|_mul)_nchwc(?:_token_\d+)?$")
# Operators that only hand on a tensor: where they are gone they were eliminated, not fused.
_VIEWS: Final = frozenset({"Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Slice"})
# Nodes that the runtime inserts around others.
_INSERTED: Final = frozenset({"ReorderInput", "ReorderOutput"})
# Operators that never take what feeds them into their kernel (only padding): a tensor before them that is gone was merged with an equal one, or renamed.
_TAKES_NOTHING: Final = frozenset({"Conv", "ConvTranspose", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Softmax"})
# Operators that a transpose may melt into; before any other, a transpose that is gone was moved behind it.
_TAKES_TRANSPOSES: Final = frozenset({"MatMul", "Gemm", "Transpose"})
_ACTIVATIONS: Final = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish"})


class EdgeTruth(StrEnum):
    """What became of an edge."""

    FUSED = "fused"
    APART = "apart"
    ELIMINATED = "eliminated"
    """One of its ends does no work any more, or was moved elsewhere."""
    UNMATCHED = "unmatched"
    """The optimised graph does not say."""


@dataclass(frozen=True)
class FusionTruth:
    """What the runtime made of a graph."""

    edges: Mapping[tuple[int, int], EdgeTruth]
    """By edge of the operator graph."""
    owners: Mapping[str, int]
    """Operator that a runtime node does the work of, by the runtime node's name (inserted nodes: whom they serve). Names that are not unique are left out."""
    unmatched_nodes: tuple[str, ...]
    """Runtime nodes, `<type> <name>`, that belong to no operator."""
    runtime_nodes: int

    @property
    def match_rate(self) -> float:
        """Share of the edges that the optimised graph says something about."""
        unmatched = sum(truth is EdgeTruth.UNMATCHED for truth in self.edges.values())
        return 1.0 - unmatched / len(self.edges) if self.edges else 1.0

    @cached_property
    def judged(self) -> Mapping[tuple[int, int], bool]:
        """True for fused, by edge; eliminated and unmatched ones left out."""
        return {edge: truth is EdgeTruth.FUSED for edge, truth in self.edges.items() if truth in {EdgeTruth.FUSED, EdgeTruth.APART}}

    def agreement(self, kernels: tuple[Kernel, ...]) -> float:
        """Share of the judged edges that kernels fuse as the runtime did; 1 where none can be judged."""
        return 1.0 - len(self.disagreements(kernels)) / len(self.judged) if self.judged else 1.0

    def disagreements(self, kernels: tuple[Kernel, ...]) -> list[tuple[int, int]]:
        """Judged edges that kernels treat otherwise than the runtime did."""
        home = {index: kernel.index for kernel in kernels for index in kernel.operators}
        return [edge for edge, fused in self.judged.items() if (home[edge[0]] == home[edge[1]]) != fused]


def read_truth(graph: OpGraph, optimized_model: bytes) -> FusionTruth:
    """Compares a graph with the model that ONNX Runtime saved for it (`SessionOptions.optimized_model_filepath`, ORT_ENABLE_ALL).

    Raises:
        ModelUnreadable: the optimised model is not an ONNX file.
    """
    try:
        nodes = list(onnx.load_model_from_string(optimized_model).graph.node)
    except (DecodeError, ValueError) as error:
        raise ModelUnreadable(f"the optimised model is not an ONNX file ({error}): let ONNX Runtime save it again") from error
    return _Reading(graph, nodes).truth()


class _Reading:
    """State of one comparison."""

    def __init__(self, graph: OpGraph, nodes: list[onnx.NodeProto]) -> None:
        self.graph = graph
        self.flow = Flow(graph)
        self.nodes = nodes
        self.names = sorted(((op.name, op.index) for op in graph.operators if op.name), key=lambda item: -len(item[0]))
        self.by_name = dict(self.names)
        self.materialised: set[str] = set()
        self.found: dict[int, int] = {}
        """Operator by position of the runtime node."""

    def truth(self) -> FusionTruth:
        for position, node in enumerate(self.nodes):
            self._note(position, self._operator(node))
        rest = [position for position in range(len(self.nodes)) if position not in self.found]
        for position in rest:
            if self.nodes[position].op_type not in _INSERTED:
                self._note(position, self._fed(self.nodes[position]))
        for position in rest:
            if position not in self.found:
                self._note(position, self._served(self.nodes[position]))
        unmatched = tuple(f"{node.op_type} {node.name}" for position, node in enumerate(self.nodes) if position not in self.found)
        return FusionTruth({edge: self._edge(edge) for edge in self.graph.edges}, self._owners(), unmatched, len(self.nodes))

    def _note(self, position: int, operator: int | None) -> None:
        if operator is not None:
            self.found[position] = operator

    def _owners(self) -> dict[str, int]:
        """By name; a name that several nodes carry (an empty one, mostly) owns nothing: a profile could not be laid on it."""
        counts = Counter(node.name for node in self.nodes)
        return {
            self.nodes[position].name: index for position, index in self.found.items() if counts[self.nodes[position].name] == 1 and self.nodes[position].name
        }

    def _operator(self, node: onnx.NodeProto) -> int | None:
        """The operator that a runtime node does the work of; notes which tensor it writes."""
        if node.domain.endswith("nchwc"):
            start = _BLOCKED.sub("", node.name)
            if start in self.graph.producers and start != node.name:
                return self._blocked(node, start)
        known = [name for name in node.output if name in self.graph.producers]
        if known and node.op_type not in _INSERTED:
            self.materialised.update(known)
            named = self._named(node.name)
            return self.graph.producers[known[0]] if named is None else named
        if known:
            self.materialised.update(known)
            return self.graph.producers[known[0]]
        index = self._named(node.name)
        if index is not None and not node.name.endswith("MatMulAddFusion"):
            self.materialised.update(self.graph.operators[index].outputs)
        return index

    def _blocked(self, node: onnx.NodeProto, tensor: str) -> int:
        """A node of the blocked layout: it starts with the operator that wrote `tensor`, and may have taken an addition and an activation since."""
        start = self._anchor(self.graph.producers[tensor], node.op_type) if _BLOCKED_OWN.search(node.name) is None else self.graph.producers[tensor]
        if len(node.input) > 3 and node.input[3]:
            tensor = self._next(tensor, frozenset({"Add", "Sum"}))
        activated = any(attribute.name == "activation" for attribute in node.attribute)
        producer = self.graph.operators[self.graph.producers[tensor]]
        if activated and producer.op_type not in _ACTIVATIONS:
            tensor = self._next(tensor, _ACTIVATIONS)
        self.materialised.add(tensor)
        return start

    def _anchor(self, index: int, op_type: str) -> int:
        """The operator of a type at or before `index`, along first activations whose results are gone; `index` itself where there is none."""
        current = index
        while self.graph.operators[current].op_type != op_type:
            activations = self.flow.activations(self.graph.operators[current])
            before = self.flow.producer_index(activations[0]) if activations else -1
            if before < 0:
                return index
            current = before
        return current

    def _next(self, tensor: str, types: frozenset[str]) -> str:
        for index in self.flow.readers.get(self.flow.resolve(tensor), ()):
            op = self.graph.operators[index]
            if op.op_type in types:
                return op.outputs[0]
        return tensor

    def _named(self, name: str) -> int | None:
        """The operator whose name a runtime node's name continues."""
        if name in self.by_name:
            return self.by_name[name]
        parts = name.rstrip("/").split("/")
        for length in range(len(parts) - 1, 0, -1):
            found = self.by_name.get("/".join(parts[:length]))
            if found is not None:
                return found
        return None

    def _fed(self, node: onnx.NodeProto) -> int | None:
        """The operator whose result a resolved reader takes from a nameless node, by the place of the input."""
        for position, owner in self.found.items():
            other = self.nodes[position]
            if not other.input or other.input[0] not in node.output:
                continue
            tensor = self.flow.resolve(self.graph.operators[owner].inputs[0])
            if tensor in self.graph.producers:
                self.materialised.add(tensor)
                return self.graph.producers[tensor]
        return None

    def _served(self, node: onnx.NodeProto) -> int | None:
        """Whom an inserted node serves: who reads it, else who feeds it."""
        for position, owner in self.found.items():
            if set(node.output) & set(self.nodes[position].input):
                return owner
        for position, owner in self.found.items():
            if set(node.input) & set(self.nodes[position].output):
                return owner
        return None

    def _edge(self, edge: tuple[int, int]) -> EdgeTruth:
        left, right = (self.graph.operators[index] for index in edge)
        names = [name for name in right.inputs if name in left.outputs]
        if any(index in self.flow.owner for index in edge):
            return EdgeTruth.ELIMINATED
        if any(name in self.materialised for name in names):
            return EdgeTruth.ELIMINATED if self._gone(right.index) and right.op_type in _VIEWS else EdgeTruth.APART
        moved = left.op_type == "Transpose" and right.op_type not in _TAKES_TRANSPOSES
        if left.op_type in _VIEWS or right.op_type in _VIEWS or moved:
            return EdgeTruth.ELIMINATED
        if right.op_type in _TAKES_NOTHING and left.op_type != "Pad":
            return EdgeTruth.UNMATCHED
        return EdgeTruth.FUSED if self._ends(right.index) else EdgeTruth.UNMATCHED

    def _gone(self, index: int) -> bool:
        return not any(name in self.materialised for name in self.graph.operators[index].outputs)

    def _ends(self, index: int) -> bool:
        """True where following an operator's vanished results leads to one that the runtime writes."""
        seen, todo = set(), [index]
        while todo:
            current = todo.pop()
            if current in seen:
                continue
            seen.add(current)
            if not self._gone(current):
                return True
            for name in self.graph.operators[current].outputs:
                todo.extend(self.graph.consumers.get(name, ()))
        return False

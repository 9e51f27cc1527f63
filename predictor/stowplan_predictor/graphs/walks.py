"""Walks: one pass over a model's nodes in order; constants fold away, functions and decided branches are inlined, the rest become operators."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto
from stowplan_fleet.errors import GraphRefused

from stowplan_predictor.errors import ExternalDataMissing, GraphTooLarge, ModelUnreadable, OperatorUnknown
from stowplan_predictor.graphs import foldings, shapes, unknowns
from stowplan_predictor.graphs.attributes import check_names, clipped, resolved
from stowplan_predictor.graphs.budgets import Budget
from stowplan_predictor.graphs.facts import ELEMENT_TYPES, FOLDABLE_TYPES, Array, Fact, check_shape, check_type
from stowplan_predictor.graphs.limits import Limits
from stowplan_predictor.graphs.orders import ordered, shown
from stowplan_predictor.graphs.parameters import read_constant, read_sparse, read_tensor

# The same inputs give other outputs each time, so these never are constants.
_RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"})
# How often or whether their bodies run depends on data.
_LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})


@dataclass(frozen=True, slots=True)
class Step:
    """A node that runs at request time."""

    node: NodeProto
    """Domain normalised, attributes resolved."""
    where: str
    inputs: tuple[Fact | None, ...]
    outputs: tuple[Fact | None, ...]


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where names are looked up: a graph, inside it the branches, apart from it the functions."""

    facts: dict[str, Fact]
    outer: "_Scope | None"
    opsets: Mapping[str, int]
    arguments: Mapping[str, AttributeProto]
    """Attributes of the function call around it."""
    depth: int
    unshaped: dict[str, GraphRefused] = field(default_factory=dict)
    """Outputs whose shape is not known: what to raise if somebody reads them."""

    def find(self, name: str) -> Fact | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.unshaped:
                raise scope.unshaped[name]
            if name in scope.facts:
                return scope.facts[name]
            scope = scope.outer
        return None


def normalised(domain: str) -> str:
    """`ai.onnx` is the default domain's other name."""
    return "" if domain == "ai.onnx" else domain


@dataclass(slots=True)
class Walk:
    """One walk over one model."""

    functions: Mapping[tuple[str, str, str], FunctionProto]
    limits: Limits
    model_dir: Path | None
    steps: list[Step] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    """Tensor names in use; those of inlined graphs give way."""
    repeats: dict[str, int] = field(default_factory=dict)
    """How often a name in use was asked for again."""
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limits)

    def _fresh(self, name: str) -> str:
        """The name itself, or with a number where an inlined graph repeats it."""
        unique = name
        while unique in self.taken:
            number = self.repeats[name] = self.repeats.get(name, 1) + 1
            unique = f"{name}#{number}"
        self.taken.add(unique)
        return unique

    def graph(self, graph: GraphProto, inputs: Sequence[Fact], opsets: Mapping[str, int]) -> list[Fact]:
        """Walk the model's main graph; its outputs."""
        scope = _Scope({}, None, opsets, {}, 0)
        for fact in inputs:
            self._define(scope, fact.name, fact)
            self.taken.add(fact.name)
        return self._body(graph.node, graph.initializer, graph.sparse_initializer, [value.name for value in graph.output], scope)

    def _body(
        self, nodes: Sequence[NodeProto], dense: Iterable[TensorProto], sparse: Iterable[SparseTensorProto], wanted: Sequence[str], scope: _Scope
    ) -> list[Fact]:
        if scope.depth > self.limits.max_nesting:
            raise GraphTooLarge(f"model: functions or branches nest deeper than {self.limits.max_nesting} levels (or a function calls itself)")
        self.budget.visit(len(nodes))
        self.budget.weigh(nodes)
        for tensor in dense:
            self.budget.visit(1)
            self._define(scope, tensor.name, read_tensor(self._fresh(tensor.name), tensor, self.limits, self.model_dir))
        for sparse_tensor in sparse:
            self.budget.visit(1)
            name = sparse_tensor.values.name
            self._define(scope, name, read_sparse(self._fresh(name), sparse_tensor, self.limits))
        check_names(wanted, "graph outputs", self.limits)
        for node in ordered(nodes, wanted, self.budget.visit):
            self._node(node, scope)
        return [self._found(name, scope, "graph output") for name in wanted]

    def _define(self, scope: _Scope, name: str, fact: Fact) -> None:
        check_names((name,), "tensors", self.limits)
        if name in scope.facts:
            raise ModelUnreadable(f"tensor {name!r}: defined twice; each name is written once in ONNX")
        scope.facts[name] = fact

    def _found(self, name: str, scope: _Scope, where: str) -> Fact:
        fact = scope.find(name)
        if fact is None:
            raise ModelUnreadable(f"{where}: {clipped(name)} is read, and nothing writes it; the file is incomplete, export the model again")
        return fact

    def _node(self, original: NodeProto, scope: _Scope) -> None:
        where = shown(original)
        check_names((original.op_type, original.domain, original.overload, original.name, *(a.name for a in original.attribute)), where, self.limits)
        node = resolved(original, scope.arguments)
        if node.domain == "ai.onnx":
            renamed = NodeProto()
            renamed.CopyFrom(node)
            renamed.domain = ""
            node = renamed
        inputs = tuple(self._found(name, scope, where) if name else None for name in node.input)
        function = self.functions.get((node.domain, node.op_type, node.overload))
        if function is not None:
            self._call(node, function, inputs, scope, where)
        elif not node.domain and node.op_type == "If":
            self._branch(node, inputs, scope, where)
        elif not node.domain and node.op_type in _LOOPS:
            raise OperatorUnknown(f"{where}: how often its body runs depends on data, so it has no counting rule; unroll it when exporting")
        elif not node.domain and node.op_type == "Constant":
            if len(node.output) != 1:
                raise ModelUnreadable(f"{where}: a Constant with {len(node.output)} outputs")
            self._define(scope, node.output[0], read_constant(self._fresh(node.output[0]), node, self.limits, self.model_dir))
        else:
            self._operator(node, inputs, scope, where)

    def _call(self, node: NodeProto, function: FunctionProto, inputs: Sequence[Fact | None], scope: _Scope, where: str) -> None:
        if len(inputs) > len(function.input) or len(node.output) > len(function.output):
            raise ModelUnreadable(f"{where}: more operands than function {function.name!r} has")
        arguments = {a.name: a for a in function.attribute_proto} | {a.name: a for a in node.attribute}
        opsets = {normalised(o.domain): o.version for o in function.opset_import}
        facts = {name: fact for name, fact in zip(function.input, inputs, strict=False) if fact is not None}
        inner = _Scope(facts, None, opsets, arguments, scope.depth + 1)
        pairs = [(outer, local) for outer, local in zip(node.output, function.output, strict=False) if outer]
        results = self._body(function.node, (), (), [local for _, local in pairs], inner)
        for (outer, _), fact in zip(pairs, results, strict=True):
            self._define(scope, outer, fact)

    def _branch(self, node: NodeProto, inputs: Sequence[Fact | None], scope: _Scope, where: str) -> None:
        condition = inputs[0] if inputs else None
        if condition is None or condition.value is None or condition.value.size != 1:
            if condition is not None and condition.lack is not None and condition.lack.external:
                raise ExternalDataMissing(f"{where}: its condition {condition.name!r} is not known, {condition.lack.reason}")
            raise OperatorUnknown(f"{where}: which branch runs depends on data, so it has no counting rule; export the model without the condition")
        wanted = "then_branch" if condition.value.item() else "else_branch"
        branch = next((a.g for a in node.attribute if a.name == wanted and a.type == AttributeProto.GRAPH), None)
        if branch is None or len(branch.output) < len(node.output):
            raise ModelUnreadable(f"{where}: its {wanted} is missing or has too few outputs")
        inner = _Scope({}, scope, scope.opsets, scope.arguments, scope.depth + 1)
        outputs = [value.name for value in branch.output][: len(node.output)]
        results = self._body(branch.node, branch.initializer, branch.sparse_initializer, outputs, inner)
        for name, fact in zip(node.output, results, strict=True):
            if name:
                self._define(scope, name, fact)

    def _operator(self, node: NodeProto, inputs: tuple[Fact | None, ...], scope: _Scope, where: str) -> None:
        if not node.domain and node.op_type in {"Shape", "Size"} and len(node.output) == 1 and inputs and inputs[0] is not None:
            sizes = _measured(node, inputs[0])
            self._define(scope, node.output[0], Fact(self._fresh(node.output[0]), 7, sizes.shape, True, sizes))
            return
        inferred = shapes.infer(node, inputs, scope.opsets, where)
        constant = bool(inputs) and node.op_type not in _RANDOM and all(fact is None or fact.parameter for fact in inputs)
        values = self._values(node, inputs, inferred) if constant else None
        outputs: list[Fact | None] = []
        for position, (name, (element_type, shape)) in enumerate(zip(node.output, inferred, strict=True)):
            folded = values[position] if values is not None and position < len(values) else None
            size = shape if folded is None else folded.shape
            if not name:
                outputs.append(None)
            elif size is None or element_type is None:
                refusal = unknowns.unshaped(name, inputs, where)
                if position == 0:
                    raise refusal
                # Optional outputs of old opsets (Dropout's mask) have no shape, and mostly no reader.
                scope.unshaped[name] = refusal
                outputs.append(None)
            else:
                size = check_shape(size, f"{where}: output {name!r}", self.limits)
                value = None if folded is None else folded.astype(ELEMENT_TYPES[element_type][0], copy=False)
                lack = unknowns.lack(inputs) if constant and value is None else None
                fact = Fact(self._fresh(name), check_type(element_type, where), size, constant, value, lack)
                outputs.append(fact)
                self._define(scope, name, fact)
        if not constant:
            self.steps.append(Step(node, where, inputs, tuple(outputs)))

    def _values(self, node: NodeProto, inputs: Sequence[Fact | None], inferred: Sequence[shapes.Inferred]) -> list[Array] | None:
        """Values of a constant node's outputs, where they are small enough to compute."""
        limit = self.limits.max_folded_elements
        if node.domain or any(fact is not None and fact.value is None for fact in inputs) or any(dtype not in FOLDABLE_TYPES for dtype, _ in inferred):
            return None
        if node.op_type in foldings.VALUE_SIZED:
            first = inputs[0]
            if first is None or first.elements * max(len(first.shape), 1) > limit:
                return None
        elif any(shape is None or min(shape, default=0) < 0 or prod(shape) > limit for _, shape in inferred):
            return None
        found = foldings.fold(node, [None if fact is None else fact.value for fact in inputs])
        self.budget.hold(found or ())
        return found


def _measured(node: NodeProto, of: Fact) -> Array:
    """The value of Shape or Size."""
    if node.op_type == "Size":
        return np.array(of.elements, np.int64)
    bounds = {a.name: a.i for a in node.attribute}
    return np.array(of.shape[bounds.get("start", 0) : bounds.get("end", len(of.shape))], np.int64)

"""Node types: which operators a node of ONNX Runtime's optimised graph can have taken in, by its type."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.graphs.opgraphs import Operator

ACTIVATIONS: Final = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish"})
# Additions, subtractions, products and quotients with a constant of one element: pointless where it is zero or one (NoopElimination).
POINTLESS: Final = frozenset({"Add", "Sub", "Mul", "Div"})
# Place of the addend among the inputs of a convolution of the blocked layout.
BLOCKED_SUM: Final = 3
# Operators that only hand on a tensor, or that the runtime moves elsewhere.
_VIEWS: Final = frozenset({"Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Slice", "Transpose", "Concat"})
_NORMALIZING: Final = frozenset({"Sub", "ReduceMean", "Pow", "Add", "Sqrt", "Div", "Mul", "Cast"})
# By node type: what it does before its core, at its core, and after it.
_CHAINS: Final[Mapping[str, tuple[frozenset[str], frozenset[str], frozenset[str]]]] = {
    "Conv": (frozenset({"Pad"}), frozenset({"Conv", "BatchNormalization", "Mul"}), frozenset({"BatchNormalization", "Mul", "Add", "Sum"}) | ACTIVATIONS),
    "Gemm": (frozenset({"Transpose"}), frozenset({"Gemm", "MatMul"}), frozenset({"Add", "BatchNormalization", "Mul"}) | ACTIVATIONS),
    "FusedMatMul": (frozenset({"Transpose", "Mul", "Div", "Cast"}), frozenset({"MatMul", "FusedMatMul"}), frozenset({"Mul", "Div"})),
    "MaxPool": (frozenset({"Pad"}), frozenset({"MaxPool"}), frozenset()),
    "AveragePool": (frozenset({"Pad"}), frozenset({"AveragePool"}), frozenset()),
}
# By node type: operators it is put together from, in any order.
_COMPOUNDS: Final[Mapping[str, frozenset[str]]] = {
    "Gelu": frozenset({"Div", "Mul", "Erf", "Add"}),
    "BiasGelu": frozenset({"Div", "Mul", "Erf", "Add", "Gelu"}),
    "FastGelu": frozenset({"Mul", "Pow", "Add", "Tanh", "Gelu"}),
    "QuickGelu": frozenset({"Mul", "Sigmoid"}),
    "LayerNormalization": _NORMALIZING,
    "SimplifiedLayerNormalization": _NORMALIZING,
    "Split": frozenset({"Slice", "Gather", "Split"}),
    "HardSwish": frozenset({"HardSigmoid", "Mul"}),
}
_SKIPPING: Final = {"SkipLayerNormalization": "LayerNormalization", "SkipSimplifiedLayerNormalization": "SimplifiedLayerNormalization"}


def changes_nothing_perhaps(flow: Flow, op: Operator) -> bool:
    """True for views, and for arithmetic with a constant of one element: whether it matters depends on values that a graph does not hold."""
    if op.op_type in _VIEWS:
        return True
    constants = [name for name in flow.inputs(op) if flow.parameter(name)]
    return op.op_type in POINTLESS and len(constants) == 1 and flow.graph.tensors[constants[0]].elements == 1


def twins(flow: Flow) -> Mapping[int, Collection[int]]:
    """By operator, those that compute the same if their parameters of equal shapes hold equal values: the runtime keeps one of them then."""
    numbers: dict[object, int] = {}
    classes: dict[str, int] = {}
    members: dict[int, list[int]] = {}
    number: dict[int, int] = {}
    for op in flow.operators():
        read = tuple(flow.shape(name) if flow.parameter(name) else classes.get(name, name) for name in flow.inputs(op))
        key = (op.domain, op.op_type, read, tuple(sorted(op.attributes.items())), len(op.outputs))
        number[op.index] = numbers.setdefault(key, len(numbers))
        members.setdefault(number[op.index], []).append(op.index)
        for place, name in enumerate(op.outputs):
            classes[name] = hash((number[op.index], place))
    return {index: members[given] for index, given in number.items()}


def done(flow: Flow, node_type: str, between: Collection[int], core: int, ends: Iterable[int]) -> set[int]:
    """Operators that a node does.

    Args:
        flow: of the original graph.
        node_type: of the node.
        between: operators between what it writes and what other nodes write.
        core: the operator it is matched with.
        ends: operators whose results it writes.
    """
    node_type = node_type.removeprefix("Fused") if node_type in {"FusedConv", "FusedGemm"} else node_type
    operators = flow.graph.operators
    if node_type in _CHAINS:
        return _chain(flow, node_type, between, core)
    if node_type in _SKIPPING:
        return _skipping(flow, _SKIPPING[node_type], between)
    if node_type in _COMPOUNDS:
        same = {index for index in ends if operators[index].op_type == node_type}
        return same or {index for index in between if operators[index].op_type in _COMPOUNDS[node_type]}
    return {index for index in ends if operators[index].op_type == node_type} or set(ends)


def _chain(flow: Flow, node_type: str, between: Collection[int], core: int) -> set[int]:
    before, cores, after = _CHAINS[node_type]
    operators = flow.graph.operators
    if operators[core].op_type not in cores or core not in between:
        candidates = [index for index in between if operators[index].op_type in cores]
        if not candidates:
            return set()
        core = min(candidates)
    found = {core}
    behind = _reached(flow, between, core)
    for index in between:
        op = operators[index]
        if index in behind:
            scalar = changes_nothing_perhaps(flow, op) and op.op_type != "Mul" and node_type == "Conv"
            if op.op_type in after and not scalar:
                found.add(index)
        elif op.op_type in before:
            found.add(index)
    return found


def _reached(flow: Flow, between: Collection[int], start: int) -> set[int]:
    found, todo = set(), [start]
    while todo:
        for name in flow.graph.operators[todo.pop()].outputs:
            for index in flow.readers.get(name, ()):
                if index in between and index not in found:
                    found.add(index)
                    todo.append(index)
    return found


def _skipping(flow: Flow, normalization: str, between: Collection[int]) -> set[int]:
    operators = flow.graph.operators
    whole = {index for index in between if operators[index].op_type == normalization}
    if whole:
        return whole | {index for index in between if operators[index].op_type == "Add"}
    return {index for index in between if operators[index].op_type in _NORMALIZING}

"""Patterns: expressions over operators, written as data and matched backwards from their last operator.

An expression is a nested tuple `("Mul", left, right)`; the operators' names are ONNX's. Leaves: `"x"`, the one activation that enters (the same wherever
it is written), `"c"`, a parameter of any shape, `"s"`, a parameter with one element. Alternatives of an operator are joined by `|`; an optional operator is
marked by `?`. `Add` and `Mul` match either way round.
"""

from dataclasses import dataclass, field

from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.graphs.opgraphs import Operator

Expression = str | tuple["Expression", ...]

_COMMUTATIVE = frozenset({"Add", "Mul"})


@dataclass(slots=True)
class Match:
    """Where an expression was found."""

    operators: list[int] = field(default_factory=list)
    """Inner operators first."""
    entry: str = ""
    """The tensor bound to `x`."""


def find(flow: Flow, expression: Expression, op: Operator) -> Match | None:
    """Matches an expression whose last operator is `op`; inner results must not be read from outside.

    Returns None where it does not match, or where an inner operator already belongs to another kernel.
    """
    match = _operator(flow, expression, op, Match())
    if match is None:
        return None
    inside = set(match.operators)
    for index in inside - {op.index}:
        for name in flow.graph.operators[index].outputs:
            if name in flow.outputs or not inside.issuperset(flow.readers.get(name, ())):
                return None
    match.operators = sorted(inside)
    return match


def _operator(flow: Flow, expression: Expression, op: Operator, match: Match) -> Match | None:
    if isinstance(expression, str):
        return None
    head, *arguments = expression
    if op.op_type not in str(head).split("|") or not flow.single(op):
        return None
    inputs = flow.inputs(op)[: len(arguments)]
    if len(inputs) != len(arguments):
        return None
    for order in (inputs, inputs[::-1]) if op.op_type in _COMMUTATIVE else (inputs,):
        found: Match | None = Match([*match.operators, op.index], match.entry)
        for argument, name in zip(arguments, order, strict=True):
            found = None if found is None else _tensor(flow, argument, name, found)
        if found is not None:
            return found
    return None


def _tensor(flow: Flow, expression: Expression, name: str, match: Match) -> Match | None:
    if isinstance(expression, str):
        return _leaf(flow, expression, name, match)
    producer = flow.producer(name)
    head = str(expression[0])
    if not head.endswith("?"):
        return None if producer is None else _operator(flow, expression, producer, match)
    if producer is not None and producer.op_type == head[:-1]:
        found = _operator(flow, (head[:-1], *expression[1:]), producer, match)
        if found is not None:
            return found
    return _tensor(flow, expression[1], name, match)


def _leaf(flow: Flow, kind: str, name: str, match: Match) -> Match | None:
    if kind == "x":
        return Match(match.operators, name) if not flow.parameter(name) and match.entry in {"", name} else None
    fits = flow.parameter(name) and (kind == "c" or flow.graph.tensors[name].elements == 1)
    return match if fits else None

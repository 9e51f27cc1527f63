"""Foldings: the values of small constants, computed with NumPy, where shapes hang on them (Shape, Gather, Concat, Range, ...).

Not a runtime: only what shape arithmetic of exporters uses. A constant computed by anything else is known by type and shape alone.
Semantics are those of https://onnx.ai/onnx/operators/, for opset 1 to 28.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, numpy_helper

from stowplan_predictor.graphs.attributes import plain
from stowplan_predictor.graphs.facts import ELEMENT_TYPES, FOLDABLE_TYPES, Array

# Values flow through here untyped: NumPy checks them, and what it refuses is a refused model.
_Value = Any
_Inputs = Sequence[_Value]
_Attributes = Mapping[str, Any]
_Rule = Callable[[_Inputs, _Attributes], _Value]


def _axes(inputs: _Inputs, attributes: _Attributes, position: int = 1) -> tuple[int, ...] | None:
    """Axes: an attribute in old opsets, an input in new ones."""
    if len(inputs) > position and inputs[position] is not None:
        return tuple(int(axis) for axis in inputs[position].ravel())
    found = attributes.get("axes")
    return tuple(int(axis) for axis in found) if isinstance(found, tuple) else None


def _divide(inputs: _Inputs, _: _Attributes) -> _Value:
    a, b = inputs
    if a.dtype.kind == "f":
        return a / b
    # Integers divide towards zero, and NumPy's floor division does not; an integer divided by zero has no value.
    if not np.all(b):
        return None
    quotient = np.abs(a) // np.abs(b)
    return quotient * np.sign(a) * np.sign(b) if a.dtype.kind == "i" else quotient


def _modulo(inputs: _Inputs, attributes: _Attributes) -> _Value:
    a, b = inputs
    if a.dtype.kind != "f" and not np.all(b):
        return None
    return np.fmod(a, b) if attributes.get("fmod") else np.mod(a, b)


def _slice(inputs: _Inputs, attributes: _Attributes) -> _Value:
    data = inputs[0]
    if len(inputs) > 1:
        starts, ends = inputs[1].ravel(), inputs[2].ravel()
        axes = inputs[3].ravel() if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
        steps = inputs[4].ravel() if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    else:
        starts, ends = np.array(attributes["starts"]), np.array(attributes["ends"])
        axes, steps = np.array(attributes.get("axes", tuple(range(len(starts))))), [1] * len(starts)
    index: list[slice] = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # ONNX means "up to and with element 0" by a very negative end of a backward slice; Python would count it from the end.
        stop = None if step < 0 and end < -data.shape[axis] else int(end)
        index[int(axis)] = slice(int(start), stop, int(step))
    return data[tuple(index)]


def _reshape(inputs: _Inputs, attributes: _Attributes) -> _Value:
    target = inputs[1].ravel().tolist() if len(inputs) > 1 else attributes["shape"]
    kept = [inputs[0].shape[i] if size == 0 and not attributes.get("allowzero") else size for i, size in enumerate(target)]
    return inputs[0].reshape(kept)


def _squeeze(inputs: _Inputs, attributes: _Attributes) -> _Value:
    return np.squeeze(inputs[0], axis=_axes(inputs, attributes))


def _unsqueeze(inputs: _Inputs, attributes: _Attributes) -> _Value:
    return np.expand_dims(inputs[0], _axes(inputs, attributes) or ())


def _flatten(inputs: _Inputs, attributes: _Attributes) -> _Value:
    axis, shape = int(attributes.get("axis", 1)), inputs[0].shape
    return inputs[0].reshape(prod(shape[:axis]), prod(shape[axis:]))


def _reduce(function: Callable[..., Any]) -> _Rule:
    def rule(inputs: _Inputs, attributes: _Attributes) -> _Value:
        axes = _axes(inputs, attributes)
        if not axes and attributes.get("noop_with_empty_axes"):
            return inputs[0]
        return function(inputs[0], axis=axes or None, keepdims=bool(attributes.get("keepdims", 1)))

    return rule


def _split(inputs: _Inputs, attributes: _Attributes, outputs: int) -> list[Any]:
    axis = int(attributes.get("axis", 0))
    given = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("split")
    if given is not None:
        return np.split(inputs[0], np.cumsum(given)[:-1], axis)
    size = -(-inputs[0].shape[axis] // outputs)
    return np.split(inputs[0], [size * i for i in range(1, outputs)], axis)


def _unary(function: Callable[[Any], Any]) -> _Rule:
    return lambda inputs, _: function(inputs[0])


def _binary(function: Callable[[Any, Any], Any]) -> _Rule:
    return lambda inputs, _: function(inputs[0], inputs[1])


def _many(function: Callable[[Any, Any], Any]) -> _Rule:
    def rule(inputs: _Inputs, _: _Attributes) -> _Value:
        found = inputs[0]
        for other in inputs[1:]:
            found = function(found, other)
        return found

    return rule


_RULES: dict[str, _Rule] = {
    "Identity": _unary(lambda x: x),
    "Neg": _unary(np.negative),
    "Abs": _unary(np.abs),
    "Not": _unary(np.logical_not),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Round": _unary(np.rint),
    "Sqrt": _unary(np.sqrt),
    "Exp": _unary(np.exp),
    "Log": _unary(np.log),
    "Reciprocal": _unary(np.reciprocal),
    "Sign": _unary(np.sign),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _divide,
    "Mod": _modulo,
    "Pow": _binary(lambda a, b: np.power(a.astype(np.float64), b).astype(a.dtype)),
    "Min": _many(np.minimum),
    "Max": _many(np.maximum),
    "Sum": _many(np.add),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Xor": _binary(np.logical_xor),
    "Equal": _binary(np.equal),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Where": lambda i, _: np.where(i[0], i[1], i[2]),
    "Clip": lambda i, a: np.clip(i[0], *((i[1] if len(i) > 1 else a.get("min")), (i[2] if len(i) > 2 else a.get("max")))),
    "Concat": lambda i, a: np.concatenate(i, int(a.get("axis", 1))),
    "Gather": lambda i, a: np.take(i[0], i[1], int(a.get("axis", 0))),
    "Slice": _slice,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": lambda i, a: np.transpose(i[0], a.get("perm")),
    "Expand": lambda i, _: np.broadcast_to(i[0], np.broadcast_shapes(i[0].shape, tuple(i[1].ravel().tolist()))),
    "Tile": lambda i, _: np.tile(i[0], i[1].ravel().tolist()),
    "Range": lambda i, _: np.arange(i[0].item(), i[1].item(), i[2].item()).astype(i[0].dtype),
    "CumSum": lambda i, a: None if a.get("exclusive") or a.get("reverse") else np.cumsum(i[0], int(i[1])),
    "NonZero": _unary(lambda x: np.array(np.nonzero(x), np.int64)),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceMean": _reduce(np.mean),
}

# The size of their result is not a function of shapes; it never exceeds rank x elements of the input.
VALUE_SIZED = frozenset({"NonZero"})


def _filled(inputs: _Inputs, node: NodeProto) -> _Value:
    value = next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value" and a.type == AttributeProto.TENSOR), np.zeros(1, np.float32))
    return np.full(tuple(inputs[0].ravel().tolist()), value.ravel()[0])


def _cast(inputs: _Inputs, attributes: _Attributes) -> _Value:
    to = attributes.get("to")
    return inputs[0].astype(ELEMENT_TYPES[to][0]) if isinstance(to, int) and to in FOLDABLE_TYPES else None


def fold(node: NodeProto, inputs: _Inputs) -> list[Array] | None:
    """Values of the node's outputs, or None where there is no rule (or the rule has no answer, such as an integer divided by zero).

    The caller has made sure that no output is larger than what it wants in memory.
    """
    attributes = plain(node.attribute)
    try:
        with np.errstate(all="ignore"):
            if node.op_type == "Split":
                return [np.asarray(part) for part in _split(inputs, attributes, len(node.output))]
            if node.op_type == "ConstantOfShape":
                found = _filled(inputs, node)
            elif node.op_type in {"Cast", "CastLike"}:
                found = _cast(inputs, attributes) if node.op_type == "Cast" else inputs[0].astype(inputs[1].dtype)
            elif node.op_type in _RULES:
                found = _RULES[node.op_type](inputs, attributes)
            else:
                return None
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, ArithmeticError, AttributeError, MemoryError):
        # Malformed operands: no value. Whoever needs it says which tensor has none.
        return None
    return None if found is None else [np.asarray(found)]

"""Shapes: element types and shapes of a node's outputs, from those of its inputs.

ONNX's own rules do the work, one node at a time, with every input shape known and small constants as values. Ours stand in where ONNX
has none: fused operators of ONNX Runtime (domain `com.microsoft`) and a few operators of old opsets.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, OperatorSetIdProto, TensorProto, checker, defs, numpy_helper, shape_inference

from stowplan_predictor.errors import OperatorUnknown, ShapeRefused
from stowplan_predictor.graphs.attributes import integer, plain
from stowplan_predictor.graphs.facts import Fact
from stowplan_predictor.graphs.opgraphs import AttributeValue

# Element type (None: not known) and shape (None: not known).
Inferred = tuple[int | None, tuple[int, ...] | None]
_Rule = Callable[[Sequence[Fact], Mapping[str, AttributeValue], str], Inferred]

# Only such values steer a shape: integers (shapes, axes, pads, counts) and the scales of Resize, one to a dimension.
_MAX_STEERING_ELEMENTS = 4096
_MAX_STEERING_FLOATS = 16

INFERENCE_ERRORS = (shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError, IndexError, TypeError, OverflowError)


def _as_first(inputs: Sequence[Fact], _: Mapping[str, AttributeValue], __: str) -> Inferred:
    return inputs[0].element_type, inputs[0].shape


def _fused_matmul(inputs: Sequence[Fact], attributes: Mapping[str, AttributeValue], where: str) -> Inferred:
    def turned(shape: tuple[int, ...], flag: str) -> tuple[int, ...]:
        return (*shape[:-2], shape[-1], shape[-2]) if integer(attributes, flag, 0, where) else shape

    if min(len(inputs[0].shape), len(inputs[1].shape)) < 2:
        raise ShapeRefused(f"{where}: matrices of at least two dimensions are expected")
    a, b = turned(inputs[0].shape, "transA"), turned(inputs[1].shape, "transB")
    if a[-1] != b[-2]:
        raise ShapeRefused(f"{where}: cannot multiply {a} by {b}")
    return inputs[0].element_type, (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def _attention(inputs: Sequence[Fact], attributes: Mapping[str, AttributeValue], where: str) -> Inferred:
    """Packed weights (hidden, 3 x hidden) unless `qkv_hidden_sizes` says otherwise; its last entry is the width of the values."""
    sizes = attributes.get("qkv_hidden_sizes")
    width = sizes[-1] if isinstance(sizes, tuple) and sizes else inputs[1].shape[-1] // 3
    if not isinstance(width, int) or len(inputs[0].shape) != 3:
        raise ShapeRefused(f"{where}: an input of three dimensions is expected")
    return inputs[0].element_type, (*inputs[0].shape[:2], width)


_OWN: dict[tuple[str, str], _Rule] = {
    ("", "SimplifiedLayerNormalization"): _as_first,
    ("", "MeanVarianceNormalization"): _as_first,
    # Opsets below 7: inference without shapes, broadcast by attribute; the first input rules.
    **{("", op): _as_first for op in ("BatchNormalization", "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "PRelu", "LRN")},
    **{
        ("com.microsoft", op): _as_first
        for op in ("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "LayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
    },
    ("com.microsoft", "MultiHeadAttention"): _as_first,
    ("com.microsoft", "Attention"): _attention,
    ("com.microsoft", "FusedMatMul"): _fused_matmul,
}
# Fused operators that are shaped like a standard one; the activation changes nothing.
_LIKE = {("com.microsoft", "FusedConv"): "Conv", ("com.microsoft", "FusedGemm"): "Gemm"}
# A standard opset that has all of `_LIKE`.
_LIKE_OPSET = 17


def _steering(fact: Fact) -> TensorProto | None:
    value = fact.value
    if value is None or value.size > (_MAX_STEERING_FLOATS if value.dtype.kind == "f" else _MAX_STEERING_ELEMENTS):
        return None
    # `ascontiguousarray` would turn a scalar into a vector of one.
    return numpy_helper.from_array(value.copy(order="C"))


def _standard(node: NodeProto, inputs: Sequence[Fact | None], opsets: Mapping[str, int], where: str) -> list[Inferred] | None:
    """What ONNX infers, one entry per output name; None where ONNX knows no such operator."""
    try:
        schema = defs.get_schema(node.op_type, opsets[node.domain], node.domain)
    except (defs.SchemaError, KeyError):
        return None
    named = {name: fact for name, fact in zip(node.input, inputs, strict=True) if fact is not None}
    data = {name: proto for name, fact in named.items() if (proto := _steering(fact)) is not None}
    imports = [OperatorSetIdProto(domain=domain, version=version) for domain, version in opsets.items()]
    try:
        found = shape_inference.infer_node_outputs(schema, node, {name: fact.type_proto() for name, fact in named.items()}, data, opset_imports=imports)
    except INFERENCE_ERRORS as error:
        raise ShapeRefused(f"{where}: its inputs do not fit ({str(error).strip()}); check the model and the input shapes") from error
    return [_read(found.get(name)) for name in node.output]


def _read(proto: onnx.TypeProto | None) -> Inferred:
    if proto is None or not proto.HasField("tensor_type"):
        return None, None
    element_type = proto.tensor_type.elem_type or None
    dims = proto.tensor_type.shape.dim
    if not proto.tensor_type.HasField("shape") or not all(d.HasField("dim_value") for d in dims):
        return element_type, None
    return element_type, tuple(d.dim_value for d in dims)


def infer(node: NodeProto, inputs: Sequence[Fact | None], opsets: Mapping[str, int], where: str) -> list[Inferred]:
    """Element type and shape of each output, in the order of `node.output`.

    Args:
        node: with its domain normalised (empty for `ai.onnx`).
        inputs: one per `node.input`; None where that name is empty.
        opsets: version by domain.
        where: names the node in errors.

    Raises:
        OperatorUnknown: neither ONNX nor we have a rule.
        ShapeRefused: the inputs do not fit together.

    """
    key = (node.domain, node.op_type)
    if key in _LIKE:
        plain_node = NodeProto()
        plain_node.CopyFrom(node)
        plain_node.domain, plain_node.op_type = "", _LIKE[key]
        # FusedConv's fourth input is added to the result; Conv has none.
        del plain_node.input[3:]
        for i in reversed(range(len(plain_node.attribute))):
            if plain_node.attribute[i].name.startswith("activation"):
                del plain_node.attribute[i]
        found = _standard(plain_node, inputs[:3], {"": _LIKE_OPSET}, where)
    else:
        found = _standard(node, inputs, opsets, where)
    present = [fact for fact in inputs if fact is not None]
    if found is not None and all(dtype is not None and shape is not None for dtype, shape in found[:1]):
        return found
    if key in _OWN and present and inputs[0] is not None:
        try:
            first = _OWN[key](present, plain(node.attribute), where)
        except INFERENCE_ERRORS as error:
            if isinstance(error, ShapeRefused):
                raise
            raise ShapeRefused(f"{where}: its inputs do not fit ({error}); check the model and the input shapes") from error
        return [first, *([(None, None)] * (len(node.output) - 1))]
    if found is None:
        raise OperatorUnknown(f"{where}: operator {node.op_type!r} of domain {node.domain or 'ai.onnx'!r} has no counting rule; replace it, or ask for a rule")
    return found

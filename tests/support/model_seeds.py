"""Small models that between them use what the reading of models knows: shape arithmetic, branches, functions, convolutions, attention, fused operators."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper
from support import hostile_models
from support.onnx_models import INT64, ints, model, zeros
from support.synthetic_bundles import chain_model


def models() -> Sequence[bytes]:
    """Each is read without complaint, but for the hostile ones at the end."""
    sound = [_shape_arithmetic(), _convolutions(), _attention(), _branches(), _function(), _recurrent(), _quantised(), _fused(), _selections()]
    hostile = [hostile_models.vast_shape(), hostile_models.deep_branches(5), hostile_models.endless("Loop"), hostile_models.endless("Scan")]
    return [chain_model(), chain_model(4, 8, 1), hostile_models.chain(5), *(proto.SerializeToString() for proto in sound), *hostile]


def _node(op_type: str, inputs: str, outputs: str = "y", domain: str = "", **attributes: object) -> NodeProto:
    """Names apart by blanks; `_` is an operand left out."""
    return helper.make_node(op_type, [name.strip("_") for name in inputs.split()], outputs.split(), domain=domain, **attributes)


def _shape_arithmetic() -> onnx.ModelProto:
    nodes = [
        _node("Shape", "x", "s"),
        _node("Gather", "s zero", "batch"),
        _node("Div", "total batch", "rest"),
        _node("Unsqueeze", "batch axis", "b"),
        _node("Unsqueeze", "rest axis", "r"),
        _node("Concat", "b r", "target", axis=0),
        _node("Reshape", "x target", "flat"),
        _node("Slice", "s axis two", "head"),
        _node("ConstantOfShape", "head", "ones"),
        _node("Range", "zero total one", "count"),
        _node("Cast", "count", "floats", to=TensorProto.FLOAT),
        _node("Expand", "flat target", "wide"),
        _node("Tile", "wide repeats", "tiled"),
        _node("Where", "mask tiled floats", "chosen"),
        _node("ReduceMean", "ones", "mean"),
        _node("Mul", "chosen mean", "y"),
    ]
    constants = {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "total": np.array(24, np.int64),
        "axis": ints(0),
        "two": ints(2),
        "repeats": ints(1, 2),
        "mask": np.array([[True]]),
    }
    return model(nodes, {"x": (2, 3, 4)}, constants=constants)


def _convolutions() -> onnx.ModelProto:
    nodes = [
        _node("Conv", "x w b", "c", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        _node("BatchNormalization", "c s b m v", "n"),
        _node("Relu", "n", "r"),
        _node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        _node("Conv", "p d", "depth", group=4, auto_pad="SAME_UPPER"),
        _node("Clip", "depth low high", "clipped"),
        _node("Add", "clipped p", "sum"),
        _node("Resize", "sum _ scales", "big", mode="linear"),
        _node("Pad", "big pads", "padded", mode="reflect"),
        _node("ConvTranspose", "padded t", "up", strides=[2, 2]),
        _node("GlobalAveragePool", "up", "g"),
        _node("Flatten", "g", "f", axis=1),
        _node("Gemm", "f k", "y", transB=1),
    ]
    constants = {
        "w": zeros(4, 3, 3, 3),
        **{name: zeros(4) for name in "bsmv"},
        "d": zeros(4, 1, 3, 3),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "pads": ints(0, 0, 1, 1, 0, 0, 1, 1),
        "t": zeros(4, 5, 2, 2),
        "k": zeros(10, 5),
    }
    return model(nodes, {"x": (1, 3, 8, 8)}, constants=constants)


def _attention() -> onnx.ModelProto:
    nodes = [
        _node("Gather", "table ids", "e"),
        _node("LayerNormalization", "e s b", "n", axis=-1),
        _node("MatMul", "n q", "qkv"),
        _node("Split", "qkv", "one two three", axis=-1),
        _node("Transpose", "two", "turned", perm=[0, 2, 1]),
        _node("MatMul", "one turned", "scores"),
        _node("Softmax", "scores", "weights", axis=-1),
        _node("MatMul", "weights three", "heads"),
        _node("Einsum", "heads o", "mixed", equation="bij,jk->bik"),
        _node("Erf", "mixed", "erf"),
        _node("Mul", "mixed erf", "gelu"),
        _node("Add", "gelu e", "sum"),
        _node("ReduceMean", "sum", "y", axes=[1], keepdims=0),
    ]
    constants = {"table": zeros(30, 8), "s": zeros(8), "b": zeros(8), "q": zeros(8, 24), "o": zeros(8, 8)}
    return model(nodes, {"ids": (1, 6)}, constants=constants, input_type=INT64)


def _branches() -> onnx.ModelProto:
    value = helper.make_tensor_value_info("t", TensorProto.FLOAT, None)
    then, other = (helper.make_graph([_node(op, "x", "t")], op, [], [value]) for op in ("Relu", "Exp"))
    branch = {"then_branch": then, "else_branch": other}
    nodes = [_node("If", "c", "a", **branch), _node("If", "c", "b", **branch), _node("Concat", "a b", "y", axis=0)]
    return model(nodes, {"x": (3,)}, constants={"c": np.array(True)})


def _function() -> onnx.ModelProto:
    inner = _node("Elu", "a", "b")
    inner.attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    function = helper.make_function("local", "Twice", ["a"], ["b"], [inner], imports, ["slope"])
    nodes = [_node("Twice", "x", "t", "local", slope=0.5), _node("Twice", "t", "y", "local", slope=2.0)]
    proto = model(nodes, {"x": (2, 5)}, functions=[function])
    proto.opset_import.append(helper.make_opsetid("local", 1))
    return proto


def _recurrent() -> onnx.ModelProto:
    nodes = [_node("LSTM", "x w r b", "h", hidden_size=12, direction="bidirectional"), _node("CumSum", "h axis", "y")]
    constants = {"w": zeros(2, 48, 8), "r": zeros(2, 48, 12), "b": zeros(2, 96), "axis": np.array(0, np.int64)}
    return model(nodes, {"x": (7, 1, 8)}, constants=constants)


def _quantised() -> onnx.ModelProto:
    nodes = [
        _node("QuantizeLinear", "x scale point", "q"),
        _node("DequantizeLinear", "q scale point", "d"),
        _node("DynamicQuantizeLinear", "d", "i s z"),
        _node("MatMulInteger", "i w z", "m"),
        _node("Cast", "m", "y", to=TensorProto.FLOAT),
    ]
    constants: dict[str, np.ndarray] = {"scale": np.array(0.1, np.float32), "point": np.array(0, np.uint8), "w": np.zeros((8, 4), np.uint8)}
    return model(nodes, {"x": (2, 8)}, constants=constants)


def _fused() -> onnx.ModelProto:
    nodes = [
        _node("Attention", "x w", "a", "com.microsoft", num_heads=2),
        _node("SkipLayerNormalization", "a x s b", "n", "com.microsoft"),
        _node("FusedMatMul", "n n", "m", "com.microsoft", transB=1),
        _node("FastGelu", "m", "g", "com.microsoft"),
        _node("Unsqueeze", "g axis", "u"),
        _node("FusedConv", "u k", "y", "com.microsoft", activation="Relu"),
    ]
    constants = {"w": zeros(8, 24), "s": zeros(8), "b": zeros(8), "k": zeros(4, 1, 3, 3), "axis": ints(1)}
    return model(nodes, {"x": (1, 6, 8)}, constants=constants)


def _selections() -> onnx.ModelProto:
    nodes = [
        _node("NonZero", "m", "i"),
        _node("Gather", "x i", "picked"),
        _node("TopK", "picked k", "values places", axis=-1),
        _node("OneHot", "places depth pair", "hot"),
        _node("ScatterND", "x at rows", "scattered"),
        _node("Pow", "scattered two", "powered"),
        _node("GatherElements", "powered idx", "g"),
        _node("ArgMax", "hot", "top", axis=-1),
        _node("Identity", "g", "y"),
    ]
    constants = {
        "m": ints(1, 0, 1),
        "k": ints(1),
        "depth": np.array(4, np.int64),
        "pair": np.array([0, 1], np.float32),
        "at": np.array([[0], [1]], np.int64),
        "rows": zeros(2, 2),
        "two": np.array(2, np.float32),
        "idx": np.zeros((3, 2), np.int64),
    }
    return model(nodes, {"x": (9, 2)}, ("y", "top"), constants)

"""Random networks, from a seed: they cover kernel sizes that published networks never use, and cost no export.

Three kinds by seed: fully connected, convolutional (plain, depthwise-separable or residual), and sequences (attention-like matrix products), in the manner of
the random fully connected and convolutional networks that DNN-latency predictors are trained on. Seeds from `FIRST_NORMALISED` on: convolutions with local
response normalisation, an operator of older networks that no library of the zoo exports any more.
"""

import random
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET: Final = 17
FIRST_NORMALISED: Final = 60
_ACTIVATIONS: Final = ("Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Clip", "Silu", "Gelu", "")


class _Builder:
    """Nodes and initializers of a graph that grows at its end."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:  # noqa: ANN401 - ONNX attributes
        name = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def weight(self, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) or 1
        return self.constant((self.numbers.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32))

    def constant(self, array: Any) -> str:  # noqa: ANN401 - a NumPy array or scalar
        name = f"weight_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def activate(self, value: str) -> str:
        match kind := self.choose.choice(_ACTIVATIONS):
            case "":
                return value
            case "Clip":
                return self.node("Clip", [value, self.constant(np.float32(0)), self.constant(np.float32(6))])
            case "Silu":
                return self.node("Mul", [value, self.node("Sigmoid", [value])])
            case "Gelu":
                scaled = self.node("Erf", [self.node("Div", [value, self.constant(np.float32(2**0.5))])])
                product = self.node("Mul", [value, self.node("Add", [scaled, self.constant(np.float32(1))])])
                return self.node("Mul", [product, self.constant(np.float32(0.5))])
            case _:
                return self.node(kind, [value])


def network(seed: int) -> bytes:
    """An ONNX file; the same for the same seed."""
    builder = _Builder(seed)
    kind = _normalised if seed >= FIRST_NORMALISED else (_connected, _convolutional, _convolutional, _sequence)[seed % 4]
    shape, last = kind(builder)
    graph = helper.make_graph(
        builder.nodes,
        f"random-{seed}",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [None, None])],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="stowplan")
    model.ir_version = 9
    onnx.checker.check_model(model)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def _connected(b: _Builder) -> tuple[list[int], str]:
    batch, width = b.choose.choice([1, 1, 2, 4, 8, 16, 32]), b.choose.choice([32, 64, 100, 128, 256, 512, 784, 1024])
    shape, value = [batch, width], "input"
    for _ in range(b.choose.randint(2, 10)):
        following = b.choose.choice([16, 32, 64, 100, 128, 200, 256, 512, 1000, 1024, 2048])
        value = b.activate(b.node("Gemm", [value, b.weight(following, width), b.weight(following)], transB=1))
        width = following
    return shape, b.node("Softmax", [value], axis=-1)


def _convolutional(b: _Builder) -> tuple[list[int], str]:
    size, channels = b.choose.choice([16, 28, 32, 48, 56, 64, 96, 112]), b.choose.choice([1, 3, 3, 16, 24, 32])
    shape, value = [b.choose.choice([1, 1, 1, 2, 4]), channels, size, size], "input"
    for _ in range(b.choose.randint(3, 9)):
        # Width falls as resolution rises, as in real networks, which also bounds the time of a run.
        following = b.choose.choice([8, 16, 24, 32, 48, 64, 96, 128, 192, 256] if size <= 32 else [8, 16, 24, 32, 48, 64])
        kernel, stride = b.choose.choice([1, 3, 3, 3, 5, 7]), b.choose.choice([1, 1, 2]) if size >= 8 else 1
        common = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        match b.choose.choice(["plain", "plain", "separable", "residual", "pooled", "squeezed"]):
            case "plain":
                value = b.activate(b.node("Conv", [value, b.weight(following, channels, kernel, kernel), b.weight(following)], **common))
                channels, size = following, (size - 1) // stride + 1
            case "separable":
                value = b.activate(b.node("Conv", [value, b.weight(channels, 1, kernel, kernel), b.weight(channels)], group=channels, **common))
                value = b.activate(b.node("Conv", [value, b.weight(following, channels, 1, 1), b.weight(following)], kernel_shape=[1, 1]))
                channels, size = following, (size - 1) // stride + 1
            case "residual":
                inner = b.activate(b.node("Conv", [value, b.weight(channels, channels, 3, 3), b.weight(channels)], kernel_shape=[3, 3], pads=[1] * 4))
                value = b.activate(b.node("Add", [inner, value]))
            case "pooled":
                kind = b.choose.choice(["MaxPool", "AveragePool"])
                pooled_stride = 2 if size >= 8 else 1
                value = b.node(kind, [value], kernel_shape=[3, 3], strides=[pooled_stride] * 2, pads=[1] * 4)
                size = (size - 1) // pooled_stride + 1
            case _:
                squeezed = b.node("GlobalAveragePool", [value])
                gate = b.node("Sigmoid", [b.node("Conv", [squeezed, b.weight(channels, channels, 1, 1), b.weight(channels)], kernel_shape=[1, 1])])
                value = b.node("Mul", [value, gate])
    pooled = b.node("Flatten", [b.node("GlobalAveragePool", [value])])
    return shape, b.node("Gemm", [pooled, b.weight(b.choose.choice([10, 100, 1000]), channels)], transB=1)


def _normalised(b: _Builder) -> tuple[list[int], str]:
    size, channels = b.choose.choice([14, 28, 32, 56]), b.choose.choice([3, 16, 32])
    shape, value = [b.choose.choice([1, 1, 2]), channels, size, size], "input"
    for _ in range(b.choose.randint(2, 4)):
        following, kernel = b.choose.choice([16, 32, 64, 96, 128, 192, 256]), b.choose.choice([1, 3, 5])
        value = b.node("Conv", [value, b.weight(following, channels, kernel, kernel), b.weight(following)], kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)
        value = b.node("LRN", [b.node("Relu", [value])], size=b.choose.choice([3, 5, 5]), alpha=1e-4, beta=0.75, bias=1.0)
        channels = following
        if size >= 14 and b.choose.random() < 0.5:
            value, size = b.node("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), (size - 1) // 2 + 1
    return shape, b.node("Flatten", [b.node("GlobalAveragePool", [value])])


def _sequence(b: _Builder) -> tuple[list[int], str]:
    tokens, heads, width = b.choose.choice([16, 32, 49, 64, 100, 128, 196]), b.choose.choice([2, 4, 8]), b.choose.choice([64, 128, 192, 256, 384])
    shape, value = [b.choose.choice([1, 1, 2, 4]), tokens, width], "input"
    for _ in range(b.choose.randint(1, 4)):
        normal = b.node("LayerNormalization", [value, b.constant(np.ones(width, np.float32)), b.constant(np.zeros(width, np.float32))], axis=-1)
        parts = []
        for permutation in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
            projected = b.node("Add", [b.node("MatMul", [normal, b.weight(width, width)]), b.weight(width)])
            split = b.node("Reshape", [projected, b.constant(np.array([shape[0], tokens, heads, width // heads], np.int64))])
            parts.append(b.node("Transpose", [split], perm=permutation))
        scores = b.node("Mul", [b.node("MatMul", parts[:2]), b.constant(np.float32((width // heads) ** -0.5))])
        mixed = b.node("Transpose", [b.node("MatMul", [b.node("Softmax", [scores], axis=-1), parts[2]])], perm=[0, 2, 1, 3])
        merged = b.node("Reshape", [mixed, b.constant(np.array([shape[0], tokens, width], np.int64))])
        value = b.node("Add", [value, b.node("MatMul", [merged, b.weight(width, width)])])
        hidden = b.activate(b.node("Add", [b.node("MatMul", [value, b.weight(width, width * 2)]), b.weight(width * 2)]))
        value = b.node("Add", [value, b.node("MatMul", [hidden, b.weight(width * 2, width)])])
    return shape, b.node("ReduceMean", [value], axes=[1], keepdims=0)

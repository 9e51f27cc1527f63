"""Fusion blocks: random small networks of what real ones are made of, to ask the runtime what it fuses in them.

They are never timed; only the runtime's optimiser sees them. Every block is drawn in the variants that decide fusions: with and without bias, normalization,
activation and residual, constants of one element, of one a channel and of the whole shape, channels that fill blocks and others, results read twice.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish", "Elu", "Gelu", "Silu", "TanhGelu", "HardSilu")
_CHANNELS = (8, 12, 16, 24, 32, 48)
_OPSET = 18


class _Writer:
    """One network under construction; tensors are names with known shapes."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.random.random() < share)

    def op(self, op_type: str, *inputs: str, shape: tuple[int, ...] | None = None, outputs: int = 1, **attributes: object) -> str:
        names = [f"{op_type}_{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, f"/{op_type}_{len(self.nodes)}", **attributes))
        for name in names:
            self.shapes[name] = self.shapes[inputs[0]] if shape is None else shape
        return names[0]

    def weight(self, *shape: int) -> str:
        return self._constant(np.asarray(self.random.normal(0.3, 0.2, shape), dtype=np.float32))

    def number(self, value: float) -> str:
        return self._constant(np.asarray(value, dtype=np.float32))

    def integers(self, *values: int) -> str:
        return self._constant(np.asarray(values, dtype=np.int64))

    def _constant(self, values: np.ndarray) -> str:  # type: ignore[type-arg]
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def activation(self, x: str) -> str:
        kind = str(self.random.choice(_ACTIVATIONS))
        if kind == "Gelu":
            erf = self.op("Add", self.op("Erf", self.op("Div", x, self.number(2**0.5))), self.number(1.0))
            return self.op("Mul", self.op("Mul", x, erf), self.number(0.5))
        if kind == "TanhGelu":
            cube = self.op("Mul", self.op("Pow", x, self.number(3.0)), self.number(0.044715))
            inner = self.op("Tanh", self.op("Mul", self.op("Add", x, cube), self.number(0.7978845608)))
            return self.op("Mul", self.op("Mul", x, self.number(0.5)), self.op("Add", inner, self.number(1.0)))
        if kind in {"Silu", "HardSilu"}:
            return self.op("Mul", x, self.op("Sigmoid" if kind == "Silu" else "HardSigmoid", x))
        return self.op("Clip", x, self.number(0.0), self.number(6.0)) if kind == "Clip" else self.op(kind, x)

    def conv(self, x: str, channels: int) -> str:
        _, inputs, *space = self.shapes[x]
        kernel = int(self.random.choice([1, 1, 3]))
        group = int(self.random.choice([1, 1, 1, inputs if channels % inputs == 0 else 1, 2]))
        group = group if inputs % group == 0 and channels % group == 0 else 1
        bias = [self.weight(channels)] if self.chance(0.6) else []
        weight = self.weight(channels, inputs // group, kernel, kernel)
        return self.op("Conv", x, weight, *bias, shape=(1, channels, *space), group=group, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)

    def norm(self, x: str) -> str:
        channels = self.shapes[x][1]
        return self.op("BatchNormalization", x, *(self.weight(channels) for _ in range(3)), self._constant(np.full(channels, 0.7, dtype=np.float32)))

    def layer_norm(self, x: str) -> str:
        width = self.shapes[x][-1]
        if self.chance():
            return self.op("LayerNormalization", x, self.weight(width), self.weight(width), axis=-1)
        reduced = (*self.shapes[x][:-1], 1)
        axes = self.integers(-1)
        plain = self.chance(0.7)
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes, shape=reduced)) if plain else x
        variance = self.op("ReduceMean", self.op("Pow", centred, self.number(2.0)), axes, shape=reduced)
        root = self.op("Sqrt", self.op("Add", variance, self.number(1e-5)))
        if plain:
            return self.op("Add", self.op("Mul", self.op("Div", centred, root), self.weight(width)), self.weight(width))
        return self.op("Mul", self.weight(width), self.op("Mul", x, self.op("Div", self.number(1.0), root, shape=reduced)), shape=self.shapes[x])

    def linear(self, x: str, width: int) -> str:
        shape = (*self.shapes[x][:-1], width)
        product = self.op("MatMul", x, self.weight(self.shapes[x][-1], width), shape=shape)
        if self.chance(0.25):
            return product
        bias = self.weight(width)
        return self.op("Add", bias, product, shape=shape) if self.chance() else self.op("Add", product, bias)

    def constant_arithmetic(self, x: str) -> str:
        shape = self.shapes[x]
        sizes: Sequence[tuple[int, ...]] = [(), (1,), shape[-1:], (shape[1], *(1 for _ in shape[2:])), shape]
        return self.op(str(self.random.choice(["Add", "Mul", "Sub", "Div"])), x, self.weight(*sizes[int(self.random.integers(len(sizes)))]))


def _image(make: _Writer, seen: list[str]) -> str:  # noqa: PLR0911 - a table of blocks
    """One more block behind the latest image, or one of the images before."""
    x = seen[-1] if make.chance(0.85) else str(make.random.choice(seen))
    channels = make.shapes[x][1]
    equal = [name for name in seen[:-1] if make.shapes[name] == make.shapes[x]]
    kind = int(make.random.integers(0, 14))
    if kind == 0 and equal:
        y = make.op("Add" if make.chance(0.8) else "Sum", *make.random.permutation([x, str(make.random.choice(equal))]).tolist())
        return make.activation(y) if make.chance() else y
    if kind == 1:
        y = make.norm(x)
        return make.activation(y) if make.chance() else y
    if kind == 2:
        return make.op(str(make.random.choice(["MaxPool", "AveragePool"])), x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    if kind == 3:
        other = str(make.random.choice(equal)) if equal else make.activation(x)
        return make.op("Concat", x, other, shape=(1, 2 * channels, *make.shapes[x][2:]), axis=1)
    if kind == 4:
        return make.constant_arithmetic(x)
    if kind == 5:
        pooled = make.op("GlobalAveragePool", x, shape=(1, channels, 1, 1))
        return make.op("Mul", x, make.op("Sigmoid", make.conv(make.activation(make.conv(pooled, 8)), channels)))
    if kind == 6 and channels % 2 == 0:
        half = (1, channels // 2, *make.shapes[x][2:])
        parts = [make.op("Slice", x, *(make.integers(item) for item in (start, start + channels // 2, 1)), shape=half) for start in (0, channels // 2)]
        return make.op("Concat", make.conv(parts[0], channels // 2), parts[1], shape=make.shapes[x], axis=1)
    if kind == 7:
        last = (1, *make.shapes[x][2:], channels)
        return make.op("Transpose", make.layer_norm(make.op("Transpose", x, shape=last, perm=[0, 2, 3, 1])), shape=make.shapes[x], perm=[0, 3, 1, 2])
    if kind == 8:
        return make.op("Sub", make.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), x)
    y = make.conv(x, int(make.random.choice([channels, channels, *_CHANNELS])))
    y = make.norm(y) if make.chance(0.3) else y
    y = make.constant_arithmetic(y) if make.chance(0.1) else y
    equal = [name for name in seen if make.shapes[name] == make.shapes[y]]
    if equal and make.chance(0.4):
        y = make.op("Add", *make.random.permutation([y, str(make.random.choice(equal[-3:]))]).tolist())
    return make.activation(y) if make.chance(0.6) else y


def _attention(make: _Writer, x: str) -> str:
    one, tokens, width = make.shapes[x]
    heads = (one, tokens, 4, width // 4)
    parts = [make.op("Reshape", make.linear(x, width), make.integers(*heads), shape=heads) for _ in range(3)]
    turned = (one, 4, tokens, width // 4)
    query, value = (make.op("Transpose", part, shape=turned, perm=[0, 2, 1, 3]) for part in (parts[0], parts[2]))
    if make.chance():
        key = make.op("Transpose", parts[1], shape=(one, 4, width // 4, tokens), perm=[0, 2, 3, 1])
    else:
        key = make.op("Transpose", parts[1], shape=turned, perm=[0, 2, 1, 3])
        key = make.op("Transpose", key, shape=(one, 4, width // 4, tokens), perm=[0, 1, 3, 2])
    query = make.op("Mul", query, make.number(0.35)) if make.chance(0.4) else query
    scores = make.op("MatMul", query, key, shape=(one, 4, tokens, tokens))
    scores = make.op(str(make.random.choice(["Mul", "Div"])), scores, make.number(0.35)) if make.chance() else scores
    scores = make.op("Add", scores, make.weight(1, 1, tokens, tokens)) if make.chance(0.3) else scores
    mixed = make.op("MatMul", make.op("Softmax", scores, axis=-1), value, shape=turned)
    back = make.op("Transpose", mixed, shape=heads, perm=[0, 2, 1, 3])
    return make.linear(make.op("Reshape", back, make.integers(one, tokens, width), shape=(one, tokens, width)), width)


def _tokens(make: _Writer, seen: list[str]) -> str:
    x = seen[-1]
    equal = [name for name in seen[:-1] if make.shapes[name] == make.shapes[x]]
    kind = int(make.random.integers(0, 8))
    if kind in {0, 1} and equal:
        y = make.op("Add", *make.random.permutation([x, str(make.random.choice(equal[-2:]))]).tolist())
        return make.layer_norm(y) if make.chance() else y
    if kind == 2:
        return make.layer_norm(x)
    if kind == 3:
        return _attention(make, make.layer_norm(x) if make.chance() else x)
    if kind == 4:
        return make.constant_arithmetic(x)
    if kind == 5 and equal:
        return make.op("Mul", make.activation(x), str(make.random.choice(equal[-2:])))
    y = make.linear(x, int(make.random.choice([32, 32, 64])))
    y = make.activation(y) if make.chance(0.7) else y
    return make.linear(y, 32) if make.shapes[y][-1] != 32 else y


def network(seed: int) -> bytes:
    """A small ONNX file of random blocks: an image network, a token network, or now and then one that turns its image into tokens at the end."""
    make = _Writer(np.random.default_rng(seed))
    images = make.chance(0.6)
    make.shapes["x"] = (1, int(make.random.choice([3, *_CHANNELS])), 8, 8) if images else (1, 8, 32)
    seen = ["x"]
    for _ in range(int(make.random.integers(3, 12))):
        seen.append(_image(make, seen) if images else _tokens(make, seen))
    if images and make.chance(0.3):
        channels = make.shapes[seen[-1]][1]
        flat = make.op("Flatten", make.op("GlobalAveragePool", seen[-1], shape=(1, channels, 1, 1)), shape=(1, channels))
        gemm = make.op("Gemm", flat, make.weight(channels, 10), make.weight(10), shape=(1, 10))
        seen.append(make.activation(gemm) if make.chance() else gemm)
    read = {name for node in make.nodes for name in node.input}
    ends = [name for node in make.nodes for name in node.output if name not in read]
    extra = [str(make.random.choice(seen[1:]))] if make.chance(0.1) else []
    value = [helper.make_tensor_value_info("x", TensorProto.FLOAT, make.shapes["x"])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in dict.fromkeys([*ends, *extra])]
    graph = helper.make_graph(make.nodes, "blocks", value, outputs, make.constants)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9).SerializeToString())

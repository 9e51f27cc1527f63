"""Networks to ask about, as ONNX files made here: their structure is that of exports, their weights are zeros (latency does not depend on them)."""

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

_WIDTH = 128
_HEADS = 4
_TOKENS = 128


class _Network:
    """Nodes and weights as they come."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
        return name

    def numbers(self, *values: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - whatever the operator takes
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=f"{op_type}_{len(self.nodes)}", **attributes))
        return output

    def file(self, shape: tuple[int, ...]) -> bytes:
        """The last tensor written is the output."""
        last = f"t{len(self.nodes) - 1}"
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
            self.weights,
        )
        return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())


def residual_network(side: int, channels: int = 64, blocks: int = 23) -> bytes:
    """A residual convolutional network of 120 operators (with 23 blocks) on an image of side x side."""
    net = _Network()
    flow = net.add("Relu", net.add("Conv", "x", net.weight(channels, 3, 7, 7), net.weight(channels), kernel_shape=[7, 7], strides=[2, 2], pads=[3] * 4))
    for _ in range(blocks):
        inner = net.add("Relu", net.add("Conv", flow, net.weight(channels, channels, 3, 3), net.weight(channels), kernel_shape=[3, 3], pads=[1] * 4))
        inner = net.add("Conv", inner, net.weight(channels, channels, 3, 3), net.weight(channels), kernel_shape=[3, 3], pads=[1] * 4)
        flow = net.add("Relu", net.add("Add", inner, flow))
    flat = net.add("Flatten", net.add("GlobalAveragePool", flow))
    net.add("Gemm", flat, net.weight(channels, 1000), net.weight(1000))
    return net.file((1, 3, side, side))


def _normalised(net: _Network, flow: str) -> str:
    """A layer normalization as exporters write it below opset 17: nine operators."""
    centred = net.add("Sub", flow, net.add("ReduceMean", flow, axes=[-1]))
    variance = net.add("ReduceMean", net.add("Pow", centred, net.weight()), axes=[-1])
    scaled = net.add("Div", centred, net.add("Sqrt", net.add("Add", variance, net.weight())))
    return net.add("Add", net.add("Mul", scaled, net.weight(_WIDTH)), net.weight(_WIDTH))


def _projected(net: _Network, flow: str, columns: int, rows: int = _WIDTH) -> str:
    return net.add("Add", net.add("MatMul", flow, net.weight(rows, columns)), net.weight(columns))


def _heads(net: _Network, flow: str, order: list[int]) -> str:
    split = net.add("Reshape", _projected(net, flow, _WIDTH), net.numbers(1, -1, _HEADS, _WIDTH // _HEADS))
    return net.add("Transpose", split, perm=order)


def transformer(layers: int = 41, tokens: int = _TOKENS) -> bytes:
    """An encoder as exporters write it, every norm and activation taken apart: 49 operators a layer, 2,009 with 41 layers."""
    net = _Network()
    flow = "x"
    for _ in range(layers):
        query, key, value = (_heads(net, flow, order) for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        weights = net.add("Softmax", net.add("Div", net.add("MatMul", query, key), net.weight()), axis=-1)
        mixed = net.add("Transpose", net.add("MatMul", weights, value), perm=[0, 2, 1, 3])
        mixed = net.add("Reshape", mixed, net.numbers(1, -1, _WIDTH))
        flow = _normalised(net, net.add("Add", _projected(net, mixed, _WIDTH), flow))
        inner = _projected(net, flow, 4 * _WIDTH)
        gate = net.add("Add", net.add("Erf", net.add("Div", inner, net.weight())), net.weight())
        inner = net.add("Mul", net.add("Mul", inner, gate), net.weight())
        flow = _normalised(net, net.add("Add", _projected(net, inner, _WIDTH, 4 * _WIDTH), flow))
    return net.file((1, tokens, _WIDTH))

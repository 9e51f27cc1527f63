"""FLOPs and bytes against figures computed by hand."""

from typing import TypeAlias

import numpy as np
import pytest
from onnx import NodeProto, helper
from stowplan_predictor.graphs.loading import load_graph
from stowplan_predictor.graphs.opgraphs import OpGraph
from support.onnx_models import INT64, ints, model, zeros

Shapes: TypeAlias = dict[str, tuple[int, ...]]
Constants: TypeAlias = dict[str, np.ndarray]


def _node(op_type: str, inputs: str, *, outputs: str = "y", domain: str = "", **attributes: object) -> NodeProto:
    return helper.make_node(op_type, [name.strip("_") for name in inputs.split()], outputs.split(), domain=domain, **attributes)


def _graph(node: NodeProto, shapes: Shapes, constants: Constants | None = None, opset: int = 17) -> OpGraph:
    return load_graph(model([node], shapes, constants=constants, opset=opset).SerializeToString())


CASES: dict[str, tuple[NodeProto, Shapes, Constants, int]] = {
    # 2 x 4 out x 8 x 8 positions x 3 in x 3 x 3 kernel, and one bias addition an output.
    "conv": (_node("Conv", "x w b", pads=[1, 1, 1, 1]), {"x": (1, 3, 8, 8)}, {"w": zeros(4, 3, 3, 3), "b": zeros(4)}, 2 * 4 * 64 * 27 + 4 * 64),
    # 4 x 4 positions after stride 2; each of 6 channels meets 9 weights.
    "depthwise": (_node("Conv", "x w", group=6, strides=[2, 2], pads=[1, 1, 1, 1]), {"x": (1, 6, 8, 8)}, {"w": zeros(6, 1, 3, 3)}, 2 * 6 * 16 * 9),
    # Every one of 3 x 4 x 4 inputs meets 5 x 2 x 2 weights.
    "transposed conv": (_node("ConvTranspose", "x w", strides=[2, 2]), {"x": (1, 3, 4, 4)}, {"w": zeros(3, 5, 2, 2)}, 2 * 3 * 16 * 20),
    "gemm": (_node("Gemm", "x w b", transB=1), {"x": (2, 16)}, {"w": zeros(10, 16), "b": zeros(10)}, 2 * 2 * 10 * 16 + 20),
    "gemm of a transposed input": (_node("Gemm", "x w", transA=1), {"x": (16, 2)}, {"w": zeros(16, 10)}, 2 * 2 * 10 * 16),
    "batched matmul": (_node("MatMul", "x z"), {"x": (2, 3, 5, 7), "z": (2, 3, 7, 11)}, {}, 2 * 6 * 5 * 7 * 11),
    "einsum": (_node("Einsum", "x z", equation="bhid,bhjd->bhij"), {"x": (1, 2, 3, 4), "z": (1, 2, 5, 4)}, {}, 2 * 2 * 3 * 5 * 4),
    "einsum with an ellipsis": (_node("Einsum", "x z", equation="...ij,jk->...ik"), {"x": (6, 3, 4), "z": (4, 5)}, {}, 2 * 6 * 3 * 4 * 5),
    "max pool": (_node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2]), {"x": (1, 4, 9, 9)}, {}, 4 * 16 * 9),
    "global pool": (_node("GlobalAveragePool", "x"), {"x": (1, 4, 9, 9)}, {}, 4 * 81),
    "relu": (_node("Relu", "x"), {"x": (2, 5)}, {}, 10),
    "broadcast": (_node("Add", "x z"), {"x": (4, 1, 3), "z": (5, 1)}, {}, 60),
    "sum of three": (_node("Sum", "x z w"), {"x": (6,), "z": (6,)}, {"w": zeros(6)}, 12),
    "reduction": (_node("ReduceSum", "x a", keepdims=0), {"x": (4, 8)}, {"a": ints(1)}, 32),
    "softmax": (_node("Softmax", "x"), {"x": (2, 9)}, {}, 5 * 18),
    "batch norm": (_node("BatchNormalization", "x s b m v"), {"x": (1, 4, 3, 3)}, {k: zeros(4) for k in "sbmv"}, 2 * 36),
    "layer norm": (_node("LayerNormalization", "x s b"), {"x": (2, 8)}, {"s": zeros(8), "b": zeros(8)}, 7 * 16),
    "transpose": (_node("Transpose", "x"), {"x": (3, 4)}, {}, 0),
    # 7 steps x 1 batch x 2 directions x 12 hidden x (4 gates x (2 x (8 + 12) + 2 biases) + 21).
    "lstm": (
        _node("LSTM", "x w r b", hidden_size=12, direction="bidirectional"),
        {"x": (7, 1, 8)},
        {"w": zeros(2, 48, 8), "r": zeros(2, 48, 12), "b": zeros(2, 96)},
        7 * 2 * 12 * (4 * (2 * 20 + 2) + 21),
    ),
    "bilinear resize": (_node("Resize", "x _ s", mode="linear"), {"x": (1, 2, 4, 4)}, {"s": np.array([1, 1, 2, 2], np.float32)}, 2 * 64 * 2 * 4),
    "fused conv": (_node("FusedConv", "x w", domain="com.microsoft", activation="Relu"), {"x": (1, 3, 8, 8)}, {"w": zeros(4, 3, 1, 1)}, 256 * (2 * 3 + 1)),
    "fused matmul": (_node("FusedMatMul", "x z", domain="com.microsoft", transB=1), {"x": (2, 5, 7), "z": (2, 11, 7)}, {}, 2 * 2 * 5 * 7 * 11),
    # Projections 2 x 6 tokens x 8 x 24, then 2 heads x 6 x 6 x (2 x 4 + 6 + 2 x 4).
    "fused attention": (_node("Attention", "x w", domain="com.microsoft", num_heads=2), {"x": (1, 6, 8)}, {"w": zeros(8, 24)}, 2 * 6 * 8 * 24 + 2 * 36 * 22),
}


@pytest.mark.parametrize("case", CASES)
def test_flops_equal_the_figure_by_hand(case: str) -> None:
    """A rule counts what its defining formula does."""
    node, shapes, constants, expected = CASES[case]

    graph = _graph(node, shapes, constants)

    assert expected == graph.flops


def test_attention_of_opset_23() -> None:
    """Q K^T, scale, softmax and the product with V, for each head."""
    node = helper.make_node("Attention", ["q", "k", "v"], ["y"])
    shapes: Shapes = {"q": (1, 2, 3, 4), "k": (1, 2, 5, 4), "v": (1, 2, 5, 4)}

    assert _graph(node, shapes, opset=23).flops == 2 * 3 * 5 * (2 * 4 + 6 + 2 * 4)


def test_bytes_of_a_convolution() -> None:
    """Activations read, activations written and parameters read are told apart."""
    [op] = _graph(*CASES["conv"][:3]).operators

    assert (op.input_bytes, op.output_bytes, op.parameter_bytes) == (4 * 3 * 64, 4 * 4 * 64, 4 * (4 * 27 + 4))


def test_a_tensor_read_twice_is_counted_once() -> None:
    """A square reads its operand from memory once."""
    [op] = _graph(_node("Mul", "x x"), {"x": (10,)}).operators

    assert op.input_bytes == 40


def test_an_embedding_reads_the_rows_it_picks() -> None:
    """Gather does not drag the whole table through memory, though the whole table counts as parameters."""
    proto = model([_node("Gather", "w x")], {"x": (3,)}, constants={"w": zeros(1000, 8)}, input_type=INT64)

    graph = load_graph(proto.SerializeToString())

    assert (graph.operators[0].parameter_bytes, graph.operators[0].input_bytes) == (3 * 8 * 4, 24)
    assert graph.parameters == 8000


def test_an_output_that_nobody_reads_has_no_name_and_no_bytes() -> None:
    """The runtime does not write it either."""
    [op] = _graph(_node("MaxPool", "x", outputs="y indices", kernel_shape=[2, 2], strides=[2, 2]), {"x": (1, 1, 4, 4)}).operators

    assert (op.outputs, op.output_bytes) == (("y", ""), 16)

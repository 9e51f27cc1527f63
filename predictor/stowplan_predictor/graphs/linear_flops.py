"""FLOPs of products: convolutions, matrix products, recurrent layers, attention. A multiply and an add are two."""

from math import prod

from stowplan_predictor.errors import ShapeRefused
from stowplan_predictor.graphs.workloads import Rule, Workload


def _convolution(work: Workload, weights: int = 1, bias: int = 2) -> int:
    """2 x output elements x (input channels of the group x kernel elements); weights are (out, in / groups, *kernel)."""
    per_output = 2 * prod(work.shape(weights)[1:])
    return work.elements * (per_output + (1 if work.has(bias) else 0))


def _transposed_convolution(work: Workload) -> int:
    """Every input element meets (output channels of the group x kernel) weights; weights are (in, out / groups, *kernel)."""
    return work.input_elements * 2 * prod(work.shape(1)[1:]) + (work.elements if work.has(2) else 0)


def _quantized_convolution(work: Workload) -> int:
    """QLinearConv: weights at position 3, bias at 8, and the requantisation of each output."""
    return _convolution(work, weights=3, bias=8) + 4 * work.elements


def _deformable_convolution(work: Workload) -> int:
    """A convolution (weights 1, bias 3) whose every input sample is interpolated between four neighbours, once for each offset."""
    return _convolution(work, bias=3) + 8 * prod(work.shape(2)) // 2


def _fused_convolution(work: Workload) -> int:
    """FusedConv: the activation, and the sum with a fourth input, one operation an element each."""
    return _convolution(work) + work.elements * (1 + work.has(3))


def _gemm(work: Workload) -> int:
    inner = work.dimension(0, 0 if work.integer("transA", 0) else 1)
    return work.elements * (2 * inner + (1 if work.has(2) else 0))


def _matrix_product(work: Workload) -> int:
    return 2 * work.elements * work.dimension(0, -1)


def _turned_matrix_product(work: Workload) -> int:
    return 2 * work.elements * work.dimension(0, -2 if work.integer("transA", 0) else -1)


def _quantized_matrix_product(work: Workload) -> int:
    return _matrix_product(work) + 4 * work.elements


def _einsum(work: Workload) -> int:
    """One multiply for each further operand and one add, over the product of all labels: the work without a cleverer contraction order."""
    equation = str(work.attributes.get("equation", "")).replace(" ", "")
    terms = equation.split("->")[0].split(",")
    shapes = [tensor.shape for tensor in work.inputs if tensor is not None]
    if len(terms) != len(shapes):
        raise ShapeRefused(f"{work.where}: equation {equation!r} has {len(terms)} operands, the node {len(shapes)}")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        before, dots, after = term.partition("...")
        spread = len(shape) - len(before) - len(after)
        if spread < 0 or (spread and not dots):
            raise ShapeRefused(f"{work.where}: term {term!r} of equation {equation!r} does not fit an operand of {len(shape)} dimensions")
        # Dimensions under an ellipsis broadcast from the right.
        labels = [*before, *(f"...{i}" for i in range(spread, 0, -1)), *after]
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    return max(len(shapes), 1) * prod(sizes.values())


def _recurrent(gates: int, pointwise: int) -> Rule:
    """X is (time, batch, in), W (directions, gates x hidden, in), R (directions, gates x hidden, hidden)."""

    def rule(work: Workload) -> int:
        steps = work.dimension(0, 0) * work.dimension(0, 1)
        directions, hidden, width = work.dimension(1, 0), work.dimension(2, 2), work.dimension(1, 2)
        if work.integer("layout", 0) not in {0, 1}:
            raise ShapeRefused(f"{work.where}: attribute 'layout' must be 0 or 1")
        return steps * directions * hidden * (gates * (2 * (width + hidden) + (2 if work.has(3) else 0)) + pointwise)

    return rule


def _scaled_dot_products(rows: int, queries: int, keys: int, key_width: int, value_width: int) -> int:
    """Q K^T, scale, softmax (5 an element), times V; rows are batch x heads."""
    return rows * queries * keys * (2 * key_width + 1 + 5 + 2 * value_width)


def _attention(work: Workload) -> int:
    """ONNX's Attention, opset 23: (batch, heads, time, width), or (batch, time, heads x width) with the heads as attributes."""
    query, key, value = work.shape(0), work.shape(1), work.shape(2)
    past = work.dimension(4, 2) if work.has(4) else 0
    if len(query) == 4:
        return _scaled_dot_products(query[0] * query[1], query[2], work.dimension(1, 2) + past, query[3], value[-1])
    heads, key_heads = work.integer("q_num_heads", 0), work.integer("kv_num_heads", 0)
    if heads < 1 or key_heads < 1 or len(query) != 3 or len(key) != 3:
        raise ShapeRefused(f"{work.where}: inputs of three dimensions need positive 'q_num_heads' and 'kv_num_heads'")
    return _scaled_dot_products(query[0] * heads, query[1], key[1] + past, query[2] // heads, value[-1] // key_heads)


def _packed_attention(work: Workload) -> int:
    """`com.microsoft` Attention: the three projections from packed weights, then attention over (batch, time, hidden)."""
    batch, time, hidden = (work.dimension(0, axis) for axis in range(3))
    if work.has(4):
        raise ShapeRefused(f"{work.where}: a fused Attention with past state has no counting rule; export the model without fusing it")
    packed = work.dimension(1, -1)
    projections = batch * time * packed * (2 * hidden + (1 if work.has(2) else 0))
    heads = work.integer("num_heads", 0)
    if heads < 1:
        raise ShapeRefused(f"{work.where}: attribute 'num_heads' must be positive")
    width = packed // 3 // heads
    return projections + _scaled_dot_products(batch * heads, time, time, width, width)


def _multi_head_attention(work: Workload) -> int:
    """`com.microsoft` MultiHeadAttention on separate (batch, time, hidden) query, key and value."""
    heads = work.integer("num_heads", 0)
    if heads < 1 or not work.has(1) or not work.has(2) or len(work.shape(0)) != 3 or len(work.shape(1)) != 3 or len(work.shape(2)) != 3:
        raise ShapeRefused(f"{work.where}: only separate query, key and value of three dimensions have a counting rule; export the model without fusing it")
    batch, queries, hidden = work.shape(0)
    return _scaled_dot_products(batch * heads, queries, work.dimension(1, 1), hidden // heads, work.dimension(2, 2) // heads)


RULES: dict[str, Rule] = {
    "Conv": _convolution,
    "ConvInteger": lambda work: _convolution(work, bias=4),
    "QLinearConv": _quantized_convolution,
    "ConvTranspose": _transposed_convolution,
    "DeformConv": _deformable_convolution,
    "Gemm": _gemm,
    "MatMul": _matrix_product,
    "MatMulInteger": _matrix_product,
    "QLinearMatMul": _quantized_matrix_product,
    "Einsum": _einsum,
    # Gates, and the arithmetic on each hidden unit beside the products (activations by the costs of `pointwise_flops`).
    "RNN": _recurrent(1, 2),
    "GRU": _recurrent(3, 16),
    "LSTM": _recurrent(4, 21),
    "Attention": _attention,
}

# Fused operators of ONNX Runtime, domain `com.microsoft`.
FUSED_RULES: dict[str, Rule] = {
    "FusedConv": _fused_convolution,
    "FusedGemm": lambda work: _gemm(work) + work.elements,
    "FusedMatMul": _turned_matrix_product,
    "Attention": _packed_attention,
    "MultiHeadAttention": _multi_head_attention,
}

"""FLOPs of operators that do a fixed amount of work for each element: activations, arithmetic, normalisations, pooling, reductions.

The convention, the usual one where work is compared with a machine's peak: an addition, a multiplication, a comparison and one elementary
function (exp, tanh, erf, sqrt, division) count one each; moving, copying and indexing data counts nothing. Integer work counts like
floating-point work. The numbers below are the operations of the operator's defining formula at https://onnx.ai/onnx/operators/.
"""

from math import prod

from stowplan_predictor.graphs.workloads import Rule, Workload


def _each(per_element: int) -> Rule:
    return lambda work: per_element * work.elements


def _each_input(per_element: int) -> Rule:
    return lambda work: per_element * work.input_elements


def _combine(work: Workload) -> int:
    """A variadic operator (Sum, Max, ...) combines n operands in n - 1 steps."""
    return work.elements * max(len([i for i in work.inputs if i is not None]) - 1, 0)


def _mean(work: Workload) -> int:
    return _combine(work) + work.elements


def _pool(work: Workload) -> int:
    """One comparison or addition for each element under the kernel."""
    return work.elements * prod(work.integers("kernel_shape") or ())


def _region_pool(work: Workload) -> int:
    """RoiAlign: four weighted corners (a multiply and an add each) at every sampling point; an adaptive ratio (0) counts one point a bin."""
    return work.elements * 8 * max(work.integer("sampling_ratio", 0), 1) ** 2


def _local_response(work: Workload) -> int:
    """Square and add over `size` neighbours, then scale, bias, power and division."""
    return work.elements * (2 * work.integer("size", 1) + 4)


def _resize(work: Workload) -> int:
    """Nearest copies; linear weighs 2 neighbours along each resized axis, cubic 4, a multiply and an add each."""
    taps = {"linear": 2, "bilinear": 2, "trilinear": 2, "cubic": 4}.get(str(work.attributes.get("mode", "nearest")), 0)
    output = work.outputs[0]
    resized = sum(a != b for a, b in zip(work.shape(0), output.shape if output else (), strict=False))
    return work.elements * 2 * taps**resized if taps and resized else 0


def _grid_sample(work: Workload) -> int:
    taps = {"linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}.get(str(work.attributes.get("mode", "linear")), 0)
    return work.elements * 2 * taps ** (len(work.shape(0)) - 2) if taps else 0


def _top_k(work: Workload) -> int:
    """A heap of k over n elements compares log2(k) times an element at most."""
    return work.input_elements * max(work.outputs[0].shape[work.integer("axis", -1)] if work.outputs[0] else 1, 2).bit_length()


def _scattered(work: Workload) -> int:
    """An update costs one operation where it is combined with what is there, nothing where it replaces it."""
    return prod(work.shape(2)) if work.attributes.get("reduction", "none") != "none" else 0


# Shape, place or type of data, not its value. Dropout and training-only switches do nothing at inference.
_MOVES = (
    "Reshape Flatten Squeeze Unsqueeze Identity Transpose Concat Split Slice Gather GatherElements GatherND Expand Tile Pad Cast CastLike "
    "DepthToSpace SpaceToDepth Shape Size ConstantOfShape Dropout Where OneHot Range EyeLike Trilu ReverseSequence NonZero CenterCropPad "
    "Constant BitCast Compress MaxUnpool TensorScatter"
)
_ONE = (
    "Abs Neg Relu Exp Log Sqrt Reciprocal Floor Ceil Round Sign Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Tanh Not "
    "IsNaN IsInf BitwiseNot Add Sub Mul Div Pow Mod And Or Xor Equal Greater Less GreaterOrEqual LessOrEqual BitShift BitwiseAnd BitwiseOr BitwiseXor"
)
# Of one element of the output.
_COSTS = {
    "LeakyRelu": 2,
    "PRelu": 2,
    "ThresholdedRelu": 1,
    "Clip": 2,
    "Shrink": 2,
    "Elu": 4,
    "Celu": 6,
    "Selu": 5,
    "Softsign": 3,
    "Softplus": 3,
    "Sigmoid": 4,
    "HardSigmoid": 4,
    "HardSwish": 5,
    "Swish": 6,
    "Mish": 5,
    "Gelu": 5,
    "Softmax": 5,
    "LogSoftmax": 6,
    "Hardmax": 2,
    # Mean and variance are constants at inference: scale and shift remain.
    "BatchNormalization": 2,
    # Mean, difference, square, its sum; then times inverse deviation, scale and shift.
    "LayerNormalization": 7,
    "InstanceNormalization": 7,
    "GroupNormalization": 7,
    "MeanVarianceNormalization": 6,
    # Square, sum, times inverse root, scale.
    "RMSNormalization": 4,
    "SimplifiedLayerNormalization": 4,
    "LpNormalization": 3,
    "CumSum": 1,
    "CumProd": 1,
    "QuantizeLinear": 4,
    "DequantizeLinear": 2,
    "DynamicQuantizeLinear": 6,
    # Two half-vectors, two multiplies and one add an element.
    "RotaryEmbedding": 3,
}
_REDUCTIONS = {
    "ReduceSum": 1,
    "ReduceMean": 1,
    "ReduceMax": 1,
    "ReduceMin": 1,
    "ReduceProd": 1,
    "ReduceL1": 2,
    "ReduceL2": 2,
    "ReduceSumSquare": 2,
    "ReduceLogSum": 1,
    "ReduceLogSumExp": 3,
    "ArgMax": 1,
    "ArgMin": 1,
    "GlobalAveragePool": 1,
    "GlobalMaxPool": 1,
    "GlobalLpPool": 3,
}

RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVES.split(), _each(0)),
    **dict.fromkeys(_ONE.split(), _each(1)),
    **{op: _each(cost) for op, cost in _COSTS.items()},
    **{op: _each_input(cost) for op, cost in _REDUCTIONS.items()},
    **dict.fromkeys(("Sum", "Min", "Max"), _combine),
    "Mean": _mean,
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    "LpPool": lambda work: 3 * _pool(work),
    "MaxRoiPool": _each_input(1),
    "RoiAlign": _region_pool,
    "LRN": _local_response,
    "Resize": _resize,
    "Upsample": _resize,
    "GridSample": _grid_sample,
    # Two products of a 3 x 3 (or 2 x 3) matrix: as many multiplies and adds as the rank, for each coordinate.
    "AffineGrid": lambda work: 2 * work.elements * work.dimension(0, -1),
    "TopK": _top_k,
    "Col2Im": _each_input(1),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND"), _scattered),
}

# Fused operators of ONNX Runtime, domain `com.microsoft`.
FUSED_RULES: dict[str, Rule] = {
    "Gelu": _each(5),
    # x (1 + tanh(x (a + b x^2))) / 2.
    "FastGelu": _each(8),
    "QuickGelu": _each(6),
    "BiasGelu": _each(6),
    "LayerNormalization": _each(7),
    "SkipLayerNormalization": _each(8),
    "SkipSimplifiedLayerNormalization": _each(5),
}

"""Rule tables: the fusions of ONNX Runtime 1.31 on CPU at ORT_ENABLE_ALL, as data.

Source of each: the transformer of that name in `onnxruntime/core/optimizer` (MIT), held against the optimised models that the runtime saves
(`truths`, tests/fusion). What the runtime lists but never does on CPU in those models (attention, bias-softmax) has no rule here.
"""

from typing import Final

from stowplan_predictor.fusion.patterns import Expression

# Activations that melt into a convolution: ConvActivationFusion, and NchwcTransformer after a residual.
CONV_ACTIVATIONS: Final = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish"})
NCHWC_ACTIVATIONS: Final = frozenset({"Relu", "Sigmoid", "Tanh"})
# GemmActivationFusion.
GEMM_ACTIVATIONS: Final = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid"})
# Operators whose constant right-hand side melts into a convolution's weights: ConvBNFusion, ConvMulFusion, ConvAddFusion.
CONV_FOLDED: Final = frozenset({"BatchNormalization", "Mul", "Add"})

_GELU_ERF: Final[Expression] = ("Add", ("Erf", ("Div|Mul", "x", "s")), "s")
_CUBE: Final[Expression] = ("Mul", "s", ("Add", "x", ("Mul", "s", ("Pow", "x", "s"))))
_DEVIATION: Final[Expression] = ("Sub", "x", ("ReduceMean", "x"))
_RMS: Final[Expression] = ("Sqrt", ("Add", ("ReduceMean", ("Pow", ("Cast?", "x"), "s")), "s"))

# (kernel type, expression): first the patterns of level 1, then those of level 2, in the order in which the runtime applies them.
PATTERNS: Final[tuple[tuple[str, Expression], ...]] = (
    ("Gelu", ("Mul", ("Mul", "x", _GELU_ERF), "s")),  # GeluFusion
    ("Gelu", ("Mul", ("Mul", "x", "s"), _GELU_ERF)),
    (
        "LayerNormalization",  # LayerNormFusion
        ("Add", ("Mul", ("Div", _DEVIATION, ("Sqrt", ("Add", ("ReduceMean", ("Pow", _DEVIATION, "s")), "s"))), "c"), "c"),
    ),
    ("SimplifiedLayerNormalization", ("Mul", "c", ("Div", ("Cast?", "x"), _RMS))),  # SimplifiedLayerNormFusion
    ("SimplifiedLayerNormalization", ("Mul", "c", ("Cast?", ("Mul", ("Cast?", "x"), ("Div", "s", _RMS))))),
    ("FastGelu", ("Mul", ("Mul", "x", "s"), ("Add", ("Tanh", _CUBE), "s"))),  # FastGeluFusion
    ("FastGelu", ("Mul", ("Mul", "x", ("Add", ("Tanh", _CUBE), "s")), "s")),
    ("FastGelu", ("Mul", ("Mul", "x", "s"), ("Add", ("Tanh", ("Mul", ("Mul", "x", "s"), ("Add", ("Mul", ("Mul", "x", "s"), "x"), "s"))), "s"))),
    ("QuickGelu", ("Mul", "x", ("Sigmoid", ("Mul", "x", "s")))),  # QuickGeluFusion
    ("QuickGelu", ("Mul", "x", ("Sigmoid", "x"))),
)
# Pattern types that take a bias added just before: BiasGeluFusion, FastGeluFusion.
BIASED_PATTERNS: Final = frozenset({"Gelu", "FastGelu"})

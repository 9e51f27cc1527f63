"""Random fully connected networks, in the manner of those that DNN latency predictors are trained on (papers 000, section 3.2, and 002, data set).

Depth 3 to 10 and units a layer of 2^0 to 2^14, as both papers draw them. Ours: at most fifty million parameters (theirs reach two thousand million, which no
measuring process holds dozens of), batches of 1 to 64 (they name none), an activation, and two spellings of a layer, as exporters of different frameworks
write it. Networks above the bound are drawn again, so that below it the distribution is the papers'.
"""

import random
from itertools import pairwise
from typing import Final

from stowplan_predictor.training.generated.builders import ACTIVATIONS, Blueprint, GraphBuilder

DEPTHS: Final = range(3, 11)
FORMS: Final = ("gemm", "matmul")
MOST_PARAMETERS: Final = 50_000_000
_LARGEST_POWER: Final = 14
# A single request more often than not, as servers without batching run it.
_BATCHES: Final = (1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64)
# Bounds a run to some 60 ms of a core: parameters times batch.
_MOST_PRODUCTS: Final = 1_000_000_000


def configurations() -> tuple[str, ...]:
    """The units of splitting: depth and spelling."""
    return tuple(f"fnn-{form}-d{depth:02d}" for depth in DEPTHS for form in FORMS)


def draw(seed: int) -> Blueprint:
    """The network of a seed; seeds go through the configurations in turns."""
    configuration = configurations()[seed % len(configurations())]
    _, form, depth = configuration.split("-")
    choose = random.Random(f"fnn-{seed}")
    widths, batch = _drawn_sizes(choose, int(depth[1:]))
    builder, value = GraphBuilder(choose), "input"
    activation = choose.choice(ACTIVATIONS)
    for layer, (width, following) in enumerate(pairwise(widths)):
        if form == "gemm":
            value = builder.node("Gemm", [value, builder.weight(following, width), builder.weight(following)], transB=1)
        else:
            value = builder.node("Add", [builder.node("MatMul", [value, builder.weight(width, following)]), builder.weight(following)])
        if layer < len(widths) - 2:
            value = builder.activate(value, activation)
    if choose.random() < 0.5:
        value = builder.node("Softmax", [value], axis=-1)
    return builder.blueprint(f"fnn-{seed:05d}", {"input": (batch, widths[0])}, {value: 2})


def _drawn_sizes(choose: random.Random, depth: int) -> tuple[list[int], int]:
    """Width of the input and of each of `depth` layers, and the batch."""
    while True:
        widths = [1 << choose.randint(0, _LARGEST_POWER) for _ in range(depth + 1)]
        batch = choose.choice(_BATCHES)
        parameters = sum(width * following + following for width, following in pairwise(widths))
        if parameters <= MOST_PARAMETERS and parameters * batch <= _MOST_PRODUCTS:
            return widths, batch

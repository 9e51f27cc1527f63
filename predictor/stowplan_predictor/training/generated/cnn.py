"""Random convolutional networks, after paper 000 (section 3.2): depth 3 to 10, channels of 2^0 to 2^10; theirs are plain, ours also residual, separable and
branching, because published networks are, with kernels, strides, resolutions, batches, activations and heads drawn too.

Sizes are spread evenly over the logarithm of the cost: of several draws the one nearest to a target cost is taken. The cost is a rough bound from operations
and bytes, there to spread sizes and to keep a run short; no time is derived from it.
"""

import random
from math import log
from typing import Final

from stowplan_predictor.training.generated.blocks import FORMS, Grown
from stowplan_predictor.training.generated.builders import ACTIVATIONS, Blueprint

# Depth in bands: a configuration then holds enough networks to be held out.
BANDS: Final = ((3, 4), (5, 6), (7, 8), (9, 10))
MOST_PARAMETERS: Final = 50_000_000
_DRAWS: Final = 8
# Of the cost below, in milliseconds of one core: tiny networks to those of a mobile phone's size; beyond the last a draw does not count.
_TARGETS_MS: Final = (0.05, 40.0)
_MOST_MS: Final = 50.0
# What a core of 2020 sustains, roughly: to bound and to spread, nothing else.
_FLOPS_PER_MS: Final = 40e6
_BYTES_PER_MS: Final = 6e6
_NODE_MS: Final = 0.003
_SIZES: Final = (8, 14, 16, 24, 28, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224)
_BATCHES: Final = (1, 1, 1, 1, 2, 4, 8)


def configurations() -> tuple[str, ...]:
    """The units of splitting: form and band of depth."""
    return tuple(f"cnn-{form}-d{low:02d}" for low, _ in BANDS for form in FORMS)


def draw(seed: int) -> Blueprint:
    """The network of a seed; seeds go through the configurations in turns."""
    configuration = configurations()[seed % len(configurations())]
    _, form, band = configuration.split("-")
    low, high = next(pair for pair in BANDS if pair[0] == int(band[1:]))
    choose = random.Random(f"cnn-{seed}")
    target = log(_TARGETS_MS[0]) + choose.random() * (log(_TARGETS_MS[1]) - log(_TARGETS_MS[0]))
    nearest: tuple[float, Grown, str] | None = None
    draws = 0
    while nearest is None or draws < _DRAWS:
        draws += 1
        grown, last = _grown(choose, form, choose.randint(low, high))
        cost = cost_ms(grown)
        if cost > _MOST_MS or grown.parameters > MOST_PARAMETERS:
            continue
        distance = abs(log(cost) - target)
        if nearest is None or distance < nearest[0]:
            nearest = (distance, grown, last)
    _, grown, last = nearest
    return grown.builder.blueprint(f"cnn-{seed:05d}", {"input": grown.input_shape}, {last: grown.rank})


def cost_ms(grown: Grown) -> float:
    """Roughly how long a run may take on one core."""
    return grown.flops / _FLOPS_PER_MS + grown.bytes / _BYTES_PER_MS + len(grown.builder.nodes) * _NODE_MS


def _grown(choose: random.Random, form: str, depth: int) -> tuple[Grown, str]:
    shape = (choose.choice(_BATCHES), choose.choice((1, 3, 3, 3, 4, 16)), *[choose.choice(_SIZES)] * 2)
    grown = Grown(choose, shape, choose.choice(ACTIVATIONS), normalised=choose.random() < 0.6)
    for _ in range(depth):
        FORMS[form](grown)
    return grown, grown.headed()

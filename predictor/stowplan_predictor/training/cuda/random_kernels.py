"""Random kernels: single operators and short chains of them, from a seed, as plain specifications; `modules` makes torch of them.

Sizes are drawn evenly on a logarithmic scale, within what one inference of a served network does; chains are what compilers fuse: a product or convolution with
what follows it, pointwise operators in a row, normalisations, softmax.
"""

import random
from dataclasses import dataclass
from typing import Final

POINTWISE: Final = ("relu", "gelu", "sigmoid", "tanh", "silu", "hardswish", "add", "mul", "scale")
_KINDS: Final = ("conv", "conv", "conv", "depthwise", "linear", "linear", "bmm", "pointwise", "pointwise", "softmax", "layer_norm", "mean", "pool", "concat")
# Elements of the largest tensor, so that a block of sixteen stays far below the memory of the smallest slice.
_MOST_ELEMENTS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """One operator, and pointwise operators that follow it."""

    kind: str
    sizes: tuple[int, ...]
    """conv: batch, in, out, side, kernel, stride, groups; linear: rows, in, out; bmm: batch, rows, inner, columns; others: the input's shape."""
    chain: tuple[str, ...] = ()


def block(seed: int, count: int) -> tuple[KernelSpec, ...]:
    """So many specifications; the same for the same seed."""
    choose = random.Random(seed)
    return tuple(_draw(choose) for _ in range(count))


def _draw(choose: random.Random) -> KernelSpec:
    kind = choose.choice(_KINDS)
    chain = tuple(choose.choices(POINTWISE, k=choose.choice((0, 0, 1, 1, 2, 3))))
    while True:
        sizes, elements = _sizes(kind, choose)
        if elements <= _MOST_ELEMENTS:
            return KernelSpec(kind, sizes, chain)


def _power(choose: random.Random, low: float, high: float, multiple: int = 1) -> int:
    """Evenly drawn on a logarithmic scale between two powers of two; odd sizes now and then, which no tile fits."""
    size = round(2 ** choose.uniform(low, high))
    return max(multiple, size // multiple * multiple) if choose.random() < 0.85 else max(1, size)


def _sizes(kind: str, choose: random.Random) -> tuple[tuple[int, ...], int]:
    batch = choose.choice((1, 1, 1, 2, 4, 8, 16))
    shape: tuple[int, ...]
    match kind:
        case "conv" | "depthwise":
            side, kernel, stride = _power(choose, 2.8, 7.8), choose.choice((1, 3, 3, 5, 7)), choose.choice((1, 1, 2))
            side = max(side, kernel)
            given = _power(choose, 2, 10.5, 8)
            groups = given if kind == "depthwise" else 1
            made = given if kind == "depthwise" else _power(choose, 3, 10.5, 8)
            return (batch, given, made, side, kernel, stride, groups), batch * max(given, made) * side * side
        case "linear":
            rows, given, made = _power(choose, 0, 11), _power(choose, 4, 12.5, 8), _power(choose, 4, 12.5, 8)
            return (rows, given, made), max(rows * given, rows * made, given * made)
        case "bmm":
            batches, rows, inner, columns = _power(choose, 0, 7), _power(choose, 3, 10), _power(choose, 3, 9, 8), _power(choose, 3, 10)
            return (batches, rows, inner, columns), batches * max(rows * inner, inner * columns, rows * columns)
        case "pool":
            side = _power(choose, 3, 7.5)
            shape = (batch, _power(choose, 3, 10, 8), side, side)
        case "concat":
            shape = (batch, _power(choose, 3, 9, 8), _power(choose, 2, 6.5), _power(choose, 2, 6.5))
        case _:
            shape = (batch, _power(choose, 0, 9), _power(choose, 4, 12, 8))
    elements = 1
    for size in shape:
        elements *= size
    return shape, elements

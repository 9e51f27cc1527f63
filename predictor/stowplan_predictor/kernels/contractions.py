"""Contractions: an Einsum of two operands as the batch of matrix products that ONNX Runtime makes of it.

Its `EinsumTypedComputeProcessor` (ONNX Runtime, `core/providers/cpu/math/einsum_utils`, MIT) moves the first operand to (batch, rows, summed), the second to
(batch, summed, columns), multiplies, and moves what comes out to the order that the equation asks for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Contraction:
    """Batch products of a rows x summed with a summed x columns matrix."""

    batch: int
    rows: int
    columns: int
    summed: int
    moves: tuple[tuple[Shape, Shape], ...]
    """Shape and permutation of what is moved: both operands before the products, the result behind them."""


def _move(sizes: dict[str, int], before: Iterable[str], after: Iterable[str]) -> tuple[Shape, Shape]:
    own = list(before)
    return tuple(sizes[label] for label in own), tuple(own.index(label) for label in after)


def contraction(equation: str, shapes: tuple[Shape, ...]) -> Contraction | None:
    """An Einsum as matrix products; None where it is none: other than two operands, an ellipsis, a diagonal, or a label that one operand sums alone.

    Args:
        equation: the operator's attribute.
        shapes: of its operands.
    """
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != 2 or len(shapes) != 2 or "." in equation or any(len(term) != len(shape) for term, shape in zip(terms, shapes, strict=True)):
        return None
    left, right = terms
    if not arrow:
        output = "".join(sorted(label for label in set(left + right) if (left + right).count(label) == 1))
    if any(len(set(term)) < len(term) for term in (left, right, output)) or set(output) - set(left + right) or (set(left) ^ set(right)) - set(output):
        return None
    sizes = {label: size for term, shape in zip(terms, shapes, strict=True) for label, size in zip(term, shape, strict=True) if size > 1}
    sizes = {label: sizes.get(label, 1) for label in left + right}
    batch = [label for label in output if label in left and label in right]
    rows = [label for label in output if label not in right]
    columns = [label for label in output if label not in left]
    summed = [label for label in left if label not in output]
    lengths = [prod(sizes[label] for label in some) for some in (batch, rows, columns, summed)]
    return Contraction(
        batch=lengths[0],
        rows=lengths[1],
        columns=lengths[2],
        summed=lengths[3],
        moves=(
            _move(sizes, left, batch + rows + summed),
            _move(sizes, right, batch + summed + columns),
            _move(sizes, batch + rows + columns, output),
        ),
    )

"""Variants: the library kernels that a product may run as, in blocks of threads and the work of one block.

Which of them runs is the library's choice; how long each takes follows from its tiles. Counts of blocks are those of the published grids:

* products: a tile of the result for each block. cuBLAS thinks in columns: `sgemm_128x64` computes 128 columns and 64 rows of a row-major result.
* implicit: convolutions as one product (cuDNN's `scudnn_128x64`): 128 positions and 64 output channels.
* winograd: F(2 x 2, 3 x 3) in one kernel (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016): a block computes 32 output channels
  of images x rows x columns of cells of 2 x 2 positions, as the kernel's name tells (`tile148`: 1 x 4 x 8).
* transformed: F(4 x 4, 3 x 3) with transforms of their own (as the same paper): 36 products over cells of 4 x 4 positions, images padded to sixteens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from stowplan_predictor.gpus.tasks import BATCHED, CONVOLUTION, LINEAR, Matrix, Tasks

_ITEM: Final = 4.0
# Kernels go through the depth in steps of so many.
_STEP: Final = 8.0
_WINDOW: Final = 9.0
_CHANNELS: Final = 32.0
# Products of a cell of F(2 x 2, 3 x 3) and of one of F(4 x 4, 3 x 3).
_SMALL, _LARGE = 16.0, 36.0
_IMAGES: Final = 16.0


@dataclass(frozen=True, slots=True)
class Variant:
    """A library kernel."""

    name: str
    rows: int
    """Of the result, in one block."""
    columns: int
    form: str = "product"
    cell: tuple[int, int, int] = (1, 1, 1)
    """Images, rows and columns of cells in a block of `winograd`."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Of some tasks run as one variant."""

    count: Matrix
    flops: Matrix
    """Of one block, as the kernel does them."""
    useful: Matrix
    """Of the whole task, were blocks cut to measure."""
    depth: Matrix
    more_bytes: Matrix
    """That transforms write and read beyond operands and result."""
    passed_bytes: Matrix
    """Operands as often as blocks read them, and the result."""


def _products(*tiles: tuple[int, int]) -> tuple[Variant, ...]:
    return tuple(Variant(f"{columns}x{rows}", rows, columns) for columns, rows in tiles)


_GEMM: Final = _products((128, 128), (128, 64), (64, 64), (32, 128), (128, 32), (64, 32), (32, 32))
_CELLS: Final = ("148", "148m", "228", "244", "418", "424", "442")
_CONVOLUTIONS: Final = (
    *(Variant(f"winograd_{cell}", 128, 32, "winograd", (int(cell[0]), int(cell[1]), int(cell[2]))) for cell in _CELLS),
    *(Variant(f"implicit_{rows}x{columns}", rows, columns, "implicit") for rows, columns in ((128, 128), (128, 64), (128, 32))),
    *(Variant(f"transformed_{rows}x{columns}", rows, columns, "transformed") for rows, columns in ((128, 128), (128, 64), (64, 64), (32, 128), (128, 32))),
    Variant("fourier", 64, 64, "implicit"),
    Variant("other", 64, 64, "implicit"),
)
VARIANTS: Final[Mapping[str, tuple[Variant, ...]]] = {LINEAR: _GEMM, BATCHED: _GEMM, CONVOLUTION: _CONVOLUTIONS}


def blocks(tasks: Tasks, variant: Variant) -> Blocks:
    """What products are cut into when they run as a variant."""
    batch, m, n, k, width = (np.maximum(tasks.column(name), 1.0) for name in ("batch", "m", "n", "k", "width"))
    none = np.zeros(len(m))
    useful = 2.0 * batch * m * n * k
    depth = k
    if variant.form == "winograd":
        depth = np.maximum(k / _WINDOW, 1.0)
        images, (tall, high, wide) = np.maximum(np.round(m / width**2), 1.0), variant.cell
        count = np.ceil(images / tall) * np.ceil(width / (2 * high)) * np.ceil(width / (2 * wide)) * np.ceil(n / _CHANNELS)
        flops = 2.0 * _CHANNELS * 32 * _SMALL * np.ceil(depth / _STEP) * _STEP
        useful = 2.0 * images * (width / 2) ** 2 * n * _SMALL * depth
        more = none
    elif variant.form == "transformed":
        depth = np.maximum(k / _WINDOW, 1.0)
        images = np.maximum(np.round(m / width**2), 1.0)
        cells = np.ceil(width / 4) ** 2
        count = _LARGE * np.ceil(np.ceil(images / _IMAGES) * _IMAGES * cells / variant.rows) * np.ceil(n / variant.columns)
        flops = 2.0 * variant.rows * variant.columns * np.ceil(depth / _STEP) * _STEP
        useful = 2.0 * images * (width / 4) ** 2 * _LARGE * n * depth
        more = _ITEM * _LARGE * images * cells * (depth + n)
    else:
        count = batch * np.ceil(m / variant.rows) * np.ceil(n / variant.columns)
        flops = 2.0 * variant.rows * variant.columns * np.ceil(k / _STEP) * _STEP
        more = none
    passed = _ITEM * (count * (variant.rows + variant.columns) * depth + batch * m * n)
    return Blocks(count, flops, useful, depth, more, passed)

"""Tasks: kernels of one operator each, in the numbers that public measurements name them by.

A product multiplies `batch` pairs of an m x k with a k x n matrix. A convolution is one product of all its output positions (m) with its output channels (n)
over its window and input channels (k): what cuDNN calls the implicit matrix product. What works element by element or row by row has m rows of n elements.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.answers import UnknownReason

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.workloads import Workloads

Matrix = NDArray[np.float64]

LINEAR: Final = "linear"
BATCHED: Final = "bmm"
CONVOLUTION: Final = "conv"
POINTWISE: Final = "pointwise"
ROWS: Final = "rows"
FAMILIES: Final = (LINEAR, BATCHED, CONVOLUTION, POINTWISE, ROWS)
PRODUCTS: Final = (LINEAR, BATCHED, CONVOLUTION)
# Kinds as the public tables name them, with their family; a trailing `u` is the variant with one tensor.
KINDS: Final = {
    "linear": LINEAR, "bmm": BATCHED, "conv": CONVOLUTION,
    "add": POINTWISE, "div": POINTWISE, "mul": POINTWISE, "pow": POINTWISE, "addu": POINTWISE, "divu": POINTWISE, "mulu": POINTWISE, "powu": POINTWISE,
    "relu": POINTWISE, "gelu": POINTWISE, "tanh": POINTWISE, "softmax": ROWS, "ln": ROWS,
}  # fmt: skip
# What bounds an operator that was never measured: its bytes, at the pace of element-wise kernels.
BYTES: Final = "bytes"
COLUMNS: Final = ("batch", "m", "n", "k", "width", "flops", "bytes")

_BINARY: Final = {"Add": "add", "Div": "div", "Mul": "mul", "Pow": "pow"}
_UNARY: Final = {"Relu": "relu", "Gelu": "gelu", "Tanh": "tanh"}
# PyTorch gives out views of these without a kernel.
_VIEWS: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Slice", "Split", "Identity", "Dropout", "Constant", "Shape"})
# Operations a byte above which an operator is not bounded by memory on any GPU of the catalogue (a P100, the lowest, has 13 a byte).
_MEMORY_BOUND: Final = 13.0
_GROUPED: Final = frozenset({"GroupedConv", "DepthwiseConv"})


@dataclass(frozen=True, slots=True)
class Tasks:
    """Kernels as a GPU sees them."""

    kinds: tuple[str, ...]
    """Of KINDS, or BYTES."""
    numbers: Matrix
    """(kernels, len(COLUMNS))."""
    measured: NDArray[np.bool_]
    """True where kernels of that kind and form were measured."""

    def column(self, name: str) -> Matrix:
        """One number of every kernel."""
        return np.asarray(self.numbers[:, COLUMNS.index(name)])

    def of(self, family: str) -> NDArray[np.int64]:
        """Positions of a family's kernels; BYTES counts as element-wise."""
        return np.flatnonzero(np.array([KINDS.get(kind, POINTWISE) == family for kind in self.kinds], dtype=np.bool_))

    def part(self, rows: NDArray[np.int64]) -> "Tasks":
        """Some of the kernels."""
        return Tasks(tuple(self.kinds[row] for row in rows), self.numbers[rows], self.measured[rows])


def _check_precision(name: str, item_bytes: float, *, product: bool) -> None:
    # Elements of two bytes are half-precision numbers; of one or eight, masks and indices, which no product has.
    if item_bytes == 2 or (product and item_bytes != 4):
        raise CannotJudge(UnknownReason.KERNEL_NOT_SUPPORTED, f"kernel {name}: its elements take {item_bytes:.0f} bytes, and only float32 was measured")


def _product(kernel_type: str, get: dict[str, float]) -> tuple[str, bool] | None:
    """Kind of a matrix-like kernel, and whether its form was measured; None for other kernels."""
    if kernel_type == "Gemm" or (kernel_type in ("MatMul", "FusedMatMul") and get["constant_right"]):
        return LINEAR, True
    if kernel_type in ("MatMul", "FusedMatMul"):
        return BATCHED, True
    if kernel_type in ("Conv", "PointwiseConv") and get["groups"] <= 1:
        # Only windows of 3 x 3 that move by one were measured; others run as the matrix product that they are.
        same = get["window"] == 9 and get["stride"] <= 1 and get["dilation"] <= 1
        return (CONVOLUTION, True) if same else (LINEAR, False)
    return None


def _pointwise(kernel_type: str, get: dict[str, float]) -> tuple[str, bool]:
    if kernel_type in _UNARY:
        return _UNARY[kernel_type], True
    if kernel_type in _BINARY:
        both = get["inputs"] >= 2 and get["input_bytes"] >= 2 * get["output_bytes"]
        scalar = get["inputs"] == 1 and get["parameter_bytes"] <= get["item_bytes"]
        kind = _BINARY[kernel_type]
        return (kind, True) if both else (kind + "u", scalar)
    if kernel_type == "Softmax" and get["inner"] <= 1:
        return "softmax", True
    if kernel_type == "LayerNormalization" and get["inner"] <= 1:
        return "ln", True
    return BYTES, False


def _task(kernel_type: str, name: str, get: dict[str, float]) -> tuple[str, bool, tuple[float, ...]] | None:
    traffic = get["input_bytes"] + get["output_bytes"] + get["parameter_bytes"]
    if kernel_type in _VIEWS or traffic == 0:
        return None
    found = _product(kernel_type, get)
    _check_precision(name, get["item_bytes"], product=found is not None)
    if found:
        kind, measured = found
        batch = get["batch"] if kind == BATCHED else 1.0
        return kind, measured, (batch, get["m"] / batch, get["n"], get["k"], get["width"], get["flops"], traffic)
    kind, measured = _pointwise(kernel_type, get) if get["item_bytes"] == 4 else (BYTES, False)
    if kind == BYTES and kernel_type not in _GROUPED and get["flops"] > _MEMORY_BOUND * traffic:
        raise CannotJudge(UnknownReason.KERNEL_NOT_SUPPORTED, f"kernel {name}: kernels of type {kernel_type} were never measured, and memory does not bound it")
    rows = max(1.0, get["m"])
    return kind, measured, (1.0, rows, max(1.0, get["n"]), 1.0, 1.0, get["flops"], traffic)


_FROM: Final = (
    "flops", "input_bytes", "output_bytes", "parameter_bytes", "inputs", "item_bytes", "constant_right",
    "m", "n", "k", "groups", "batch", "window", "stride", "dilation", "width", "inner",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Network:
    """The kernels of a graph, and what of them takes time."""

    work: Workloads
    tasks: Tasks
    positions: NDArray[np.int64]
    """Of the tasks among all kernels."""


def tasks_of(work: Workloads) -> Network:
    """The kernels of a graph that take time.

    Raises:
        CannotJudge: a kernel that was never measured and that memory does not bound, or one of another precision than float32.
    """
    columns = {name: work.column(name) for name in _FROM}
    kinds, measured, rows, places = [], [], [], []
    for index, kernel_type in enumerate(work.types):
        found = _task(str(kernel_type), work.names[index], {name: float(values[index]) for name, values in columns.items()})
        if found is not None:
            kinds.append(found[0])
            measured.append(found[1])
            rows.append(found[2])
            places.append(index)
    numbers = np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))
    return Network(work, Tasks(tuple(kinds), numbers, np.array(measured, dtype=np.bool_)), np.array(places, dtype=np.int64))

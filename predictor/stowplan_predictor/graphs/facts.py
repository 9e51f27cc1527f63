"""Facts about tensors while a graph is analysed: element type, shape, whether the request can change it, and its value where small and known."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import TypeProto

from stowplan_predictor.errors import OperatorUnknown, ShapeRefused
from stowplan_predictor.graphs.limits import Limits
from stowplan_predictor.graphs.opgraphs import Tensor

Array = NDArray[np.generic]

# ONNX's numbers of element types (TensorProto.DataType): NumPy's name and bytes of one element. Strings and types below one byte are
# absent: we have no rule for the bytes that they move.
ELEMENT_TYPES: dict[int, tuple[str, int]] = {
    1: ("float32", 4),
    2: ("uint8", 1),
    3: ("int8", 1),
    4: ("uint16", 2),
    5: ("int16", 2),
    6: ("int32", 4),
    7: ("int64", 8),
    9: ("bool", 1),
    10: ("float16", 2),
    11: ("float64", 8),
    12: ("uint32", 4),
    13: ("uint64", 8),
    14: ("complex64", 8),
    15: ("complex128", 16),
    16: ("bfloat16", 2),
    17: ("float8_e4m3fn", 1),
    18: ("float8_e4m3fnuz", 1),
    19: ("float8_e5m2", 1),
    20: ("float8_e5m2fnuz", 1),
}
# Those that NumPy itself computes with.
FOLDABLE_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13})


@dataclass(frozen=True, slots=True)
class Lack:
    """Why the value of a constant is not known."""

    reason: str
    external: bool = False
    """True where a file of external data would have told."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of one tensor."""

    name: str
    element_type: int
    """ONNX's number."""
    shape: tuple[int, ...]
    parameter: bool
    value: Array | None = None
    lack: Lack | None = None
    """Set where `parameter` holds and `value` is None."""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def tensor(self) -> Tensor:
        """The same as a value of the operator graph."""
        dtype, item_bytes = ELEMENT_TYPES[self.element_type]
        return Tensor(self.name, dtype, self.shape, item_bytes, self.parameter)

    def type_proto(self) -> TypeProto:
        """The same in ONNX's words."""
        proto = TypeProto()
        proto.tensor_type.elem_type = self.element_type
        proto.tensor_type.shape.SetInParent()
        for size in self.shape:
            proto.tensor_type.shape.dim.add().dim_value = size
        return proto


def check_type(element_type: int, where: str) -> int:
    """The element type itself.

    Raises:
        OperatorUnknown: we cannot say how many bytes such elements move.

    """
    if element_type not in ELEMENT_TYPES:
        raise OperatorUnknown(f"{where}: element type {element_type} of ONNX has no counting rule (strings, types below one byte); change the model")
    return element_type


def check_shape(shape: Sequence[int], where: str, limits: Limits) -> tuple[int, ...]:
    """The shape itself.

    Raises:
        ShapeRefused: a dimension is negative, or the tensor is absurdly large.

    """
    if len(shape) > limits.max_rank:
        raise ShapeRefused(f"{where}: {len(shape)} dimensions, more than {limits.max_rank}")
    shown = "x".join(str(size) for size in shape)
    if any(size < 0 for size in shape):
        raise ShapeRefused(f"{where}: shape {shown} has a negative dimension; check the model and the input shapes")
    # Zero elements in sum do not excuse an absurd dimension beside the zero.
    if prod(max(size, 1) for size in shape) > limits.max_tensor_elements:
        raise ShapeRefused(f"{where}: shape {shown} has more than {limits.max_tensor_elements} elements; bind smaller input shapes or change the model")
    return tuple(shape)

"""Random inputs that a network accepts: bound shapes, the right types, token ids inside the vocabulary, masks that mask nothing."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx

from stowplan_predictor.errors import RuntimeRefused

_DTYPES: Final = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(bool)": np.bool_,
}  # fmt: skip
# Inputs larger than this are no request of a model server: 1 GiB of float32.
_MAX_ELEMENTS: Final = 1 << 28
# Indices whose table we cannot find: every table has a first and a second row, or nearly.
_SAFE_BOUND: Final = 2


def index_bounds(model: onnx.ModelProto) -> dict[str, int]:
    """Rows of the table that each integer input indexes directly, by input name."""
    sizes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    return {
        node.input[1]: sizes[node.input[0]]
        for node in model.graph.node
        if node.op_type == "Gather" and node.input[0] in sizes and not any(a.name == "axis" and a.i for a in node.attribute)
    }


def bound_shape(name: str, shape: list[Any], input_shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of an input with every dimension a number.

    Raises:
        RuntimeRefused: a dimension has no value, the given shape does not fit, or the tensor is absurdly large.
    """
    given = input_shapes.get(name)
    if given is None:
        if unbound := [dimension for dimension in shape if not isinstance(dimension, int) or dimension < 0]:
            raise RuntimeRefused(f"input {name}: dimensions {unbound} have no value; bind them with an input shape")
        given = tuple(shape)
    if len(given) != len(shape) or any(isinstance(fixed, int) and fixed != wanted for fixed, wanted in zip(shape, given, strict=True)):
        raise RuntimeRefused(f"input {name}: shape {given} does not fit the model's {shape}")
    if any(dimension < 0 for dimension in given) or np.prod(given, dtype=object) > _MAX_ELEMENTS:
        raise RuntimeRefused(f"input {name}: shape {given} is larger than {_MAX_ELEMENTS} elements")
    return given


def random_inputs(session_inputs: Any, bounds: Mapping[str, int], input_shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Any]:  # noqa: ANN401
    """One array an input, the same for the same seed.

    Args:
        session_inputs: what `InferenceSession.get_inputs()` gives.
        bounds: `index_bounds` of the model.
        input_shapes: values for dynamic dimensions, by input name.
        seed: of the values.

    Raises:
        RuntimeRefused: an input's type or shape cannot be served.
    """
    numbers = np.random.default_rng(seed)
    feeds: dict[str, Any] = {}
    for item in session_inputs:
        shape = bound_shape(item.name, list(item.shape), input_shapes)
        dtype = _DTYPES.get(item.type)
        if dtype is None:
            raise RuntimeRefused(f"input {item.name}: no values are known for type {item.type}")
        if np.issubdtype(dtype, np.floating):
            feeds[item.name] = numbers.standard_normal(shape).astype(dtype)
        elif "mask" in item.name.lower() or dtype is np.bool_:
            feeds[item.name] = np.ones(shape, dtype)
        else:
            feeds[item.name] = numbers.integers(0, min(bounds.get(item.name, _SAFE_BOUND), 127), shape).astype(dtype)
    return feeds

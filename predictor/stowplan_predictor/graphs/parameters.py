"""Parameters: initializers and constants of a model file, by type and shape, with the value where it is small and there."""

from math import prod
from pathlib import Path

import numpy as np
from onnx import AttributeProto, NodeProto, SparseTensorProto, TensorProto, numpy_helper

from stowplan_predictor.errors import ModelUnreadable
from stowplan_predictor.graphs.attributes import check_names
from stowplan_predictor.graphs.facts import ELEMENT_TYPES, FOLDABLE_TYPES, Array, Fact, Lack, check_shape, check_type
from stowplan_predictor.graphs.limits import Limits


def _external(tensor: TensorProto, model_dir: Path | None, bytes_wanted: int, limits: Limits) -> bytes | Lack:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    check_names((*entries, *entries.values()), "external data", limits)
    if model_dir is None:
        return Lack(f"its data lies in the external file {location!r}, and only the model file itself is at hand", external=True)
    root = model_dir.resolve()
    try:
        offset = int(entries.get("offset", "0"))
        path = (root / location).resolve()
        if not path.is_relative_to(root):
            return Lack(f"its external file {location!r} lies outside the model's directory, which is never read", external=True)
        # A pipe or a device would block or never end.
        if offset < 0 or not path.is_file():
            return Lack(f"its external file {location!r} is not in the model's directory", external=True)
        with path.open("rb") as stream:
            stream.seek(offset)
            found: bytes = stream.read(bytes_wanted)
    except (OSError, ValueError, OverflowError) as error:
        return Lack(f"its external file {location!r} cannot be read ({error})", external=True)
    if len(found) < bytes_wanted:
        return Lack(f"its external file {location!r} ends too early", external=True)
    return found


def _stored(tensor: TensorProto, bytes_wanted: int, model_dir: Path | None, limits: Limits) -> bytes | Lack:
    """The tensor's data in the layout of `raw_data`."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return _external(tensor, model_dir, bytes_wanted, limits)
    if tensor.raw_data:
        return bytes(tensor.raw_data)
    try:
        return bytes(numpy_helper.to_array(tensor).tobytes())
    except (ValueError, TypeError, OverflowError) as error:
        return Lack(f"its data is not in the model file ({error})")


def _value(tensor: TensorProto, shape: tuple[int, ...], limits: Limits, model_dir: Path | None) -> Array | Lack:
    elements = prod(shape)
    if elements > limits.max_folded_elements:
        return Lack(f"it has {elements} elements, and values are computed up to {limits.max_folded_elements}")
    if tensor.data_type not in FOLDABLE_TYPES:
        return Lack("its element type is not one that shapes are computed with")
    dtype, item_bytes = ELEMENT_TYPES[tensor.data_type]
    data = _stored(tensor, elements * item_bytes, model_dir, limits)
    if isinstance(data, Lack):
        return data
    if len(data) != elements * item_bytes:
        return Lack(f"its data has {len(data)} bytes where its shape asks for {elements * item_bytes}")
    # ONNX stores raw data in little-endian order.
    found: Array = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return found


def read_tensor(name: str, tensor: TensorProto, limits: Limits, model_dir: Path | None) -> Fact:
    """The fact of an initializer or a constant."""
    where = f"parameter {name!r}"
    shape = check_shape(tensor.dims, where, limits)
    value = _value(tensor, shape, limits, model_dir)
    lack = value if isinstance(value, Lack) else None
    return Fact(name, check_type(tensor.data_type, where), shape, True, None if isinstance(value, Lack) else value, lack)


def read_sparse(name: str, tensor: SparseTensorProto, limits: Limits) -> Fact:
    """The fact of a sparse initializer: its dense shape; ONNX Runtime, too, makes it dense when it loads the model."""
    where = f"sparse parameter {name!r}"
    return Fact(name, check_type(tensor.values.data_type, where), check_shape(tensor.dims, where, limits), True, None, Lack("it is stored sparsely"))


def read_constant(name: str, node: NodeProto, limits: Limits, model_dir: Path | None) -> Fact:
    """The fact of a Constant node's output.

    Raises:
        ModelUnreadable: the node holds no value that ONNX knows.

    """
    for a in node.attribute:
        match a.type:
            case AttributeProto.TENSOR:
                return read_tensor(name, a.t, limits, model_dir)
            case AttributeProto.SPARSE_TENSOR:
                return read_sparse(name, a.sparse_tensor, limits)
            case AttributeProto.INT:
                return Fact(name, 7, (), True, np.array(a.i, np.int64))
            case AttributeProto.FLOAT:
                return Fact(name, 1, (), True, np.array(a.f, np.float32))
            case AttributeProto.INTS:
                return Fact(name, 7, check_shape((len(a.ints),), name, limits), True, np.array(a.ints, np.int64))
            case AttributeProto.FLOATS:
                return Fact(name, 1, check_shape((len(a.floats),), name, limits), True, np.array(a.floats, np.float32))
            case AttributeProto.STRING | AttributeProto.STRINGS:
                check_type(8, f"constant {name!r}")
    raise ModelUnreadable(f"node {node.name!r}: a Constant without a value; export the model again")

"""ONNX files without their weights: small enough to keep beside the numbers that were measured on them.

A stripped tensor keeps name, type and shape; its data is marked external with the location `stripped`, the way ONNX itself says "not in this file".
Small tensors and all integers stay, because shapes may depend on them.
"""

import gzip
from typing import Final

import onnx
from onnx import TensorProto

# Tensors up to this many elements stay: scales, axes, clip bounds and the like decide shapes and fusions; they cost next to nothing.
_KEPT_ELEMENTS: Final = 16
# Integer tensors decide shapes (Reshape, Slice, Expand); above this they are index tables, which no shape depends on.
_KEPT_INTEGER_ELEMENTS: Final = 4096
STRIPPED: Final = "stripped"
_INTEGERS: Final = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)


def _strip(tensor: TensorProto) -> None:
    elements = 1
    for dimension in tensor.dims:
        elements *= dimension
    if elements <= (_KEPT_INTEGER_ELEMENTS if tensor.data_type in _INTEGERS else _KEPT_ELEMENTS):
        return
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data", "external_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", STRIPPED


def _strip_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _strip(tensor)
    for node in graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _strip(attribute.t)
            if attribute.HasField("g"):
                _strip_graph(attribute.g)


def strip_weights(onnx_model: bytes) -> bytes:
    """The same graph without the values of its large tensors."""
    model = onnx.load_model_from_string(onnx_model)
    _strip_graph(model.graph)
    return bytes(model.SerializeToString(deterministic=True))


def pack(onnx_model: bytes) -> bytes:
    """Gzipped, byte for byte the same on every machine."""
    return gzip.compress(onnx_model, compresslevel=9, mtime=0)


def unpack(packed: bytes) -> bytes:
    """What `pack` was given."""
    return gzip.decompress(packed)

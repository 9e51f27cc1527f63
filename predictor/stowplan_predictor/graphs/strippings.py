"""Stripped models: the structure of an ONNX file without its large weights, found on the wire before anything is unpacked.

A walk over the protocol-buffer encoding (https://protobuf.dev/programming-guides/encoding/) skips the payload of large tensors, so that
neither time nor memory depend on the weights, and so that the size of what is unpacked later is known beforehand.
"""

import onnx

from stowplan_predictor.errors import GraphTooLarge, ModelUnreadable
from stowplan_predictor.graphs.limits import DEFAULT_LIMITS, Limits

# Messages that may hold tensors.
_MESSAGES = {
    message.DESCRIPTOR.name: message.DESCRIPTOR
    for message in (onnx.ModelProto, onnx.GraphProto, onnx.FunctionProto, onnx.NodeProto, onnx.AttributeProto, onnx.SparseTensorProto, onnx.TensorProto)
}
# Fields that describe and do not compute; `value_info` too: shapes are inferred anew for the bound inputs.
_IDLE = frozenset({"doc_string", "metadata_props", "value_info", "training_info", "quantization_annotation", "configuration", "device_configurations"})

_CHILDREN = {name: {f.number: f.message_type.name for f in d.fields if f.message_type and f.message_type.name in _MESSAGES} for name, d in _MESSAGES.items()}
_SKIPPED = {name: frozenset(f.number for f in d.fields if f.name in _IDLE) for name, d in _MESSAGES.items()}
_PAYLOADS = {
    name: frozenset(f.number for f in d.fields if name == "TensorProto" and (f.name == "raw_data" or (f.name.endswith("_data") and f.name != "external_data")))
    for name, d in _MESSAGES.items()
}

# A message shorter than this is copied whole, and counted as if it held nothing but the shortest parts there are, of two bytes each:
# cheaper than a look inside, and no under-estimate.
_SMALL_BYTES = 512
_SHORTEST_PART_BYTES = 2
# Protocol buffers themselves give up at 100 levels of messages.
_MAX_LEVELS = 100
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Walk:
    """One walk over one file; counts what it looks at and what it keeps."""

    def __init__(self, data: memoryview, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.fields = 0
        self.parts = 0
        self.kept_bytes = 0
        # 8 bytes are the widest element of a payload that is ever folded.
        self.max_payload_bytes = 8 * limits.max_folded_elements

    def varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise ModelUnreadable(f"model file: not ONNX or truncated (a number at byte {at} does not end); export or copy it again")

    def field(self, at: int, end: int) -> tuple[int, int, int]:
        """Key, start of the body and end of the field that starts at `at`."""
        self.fields += 1
        if self.fields > self.limits.max_fields:
            raise self.too_many()
        key, body = self.varint(at, end)
        wire, stop = key & 7, body
        if wire == _DELIMITED:
            length, body = self.varint(body, end)
            stop = body + length
        elif wire == _VARINT:
            _, stop = self.varint(body, end)
        elif wire in {_FIXED64, _FIXED32}:
            stop = body + (8 if wire == _FIXED64 else 4)
        else:
            raise ModelUnreadable(f"model file: not ONNX (wire type {wire} at byte {at}); export it again")
        if stop > end:
            raise ModelUnreadable(f"model file: not ONNX or truncated (a field at byte {at} ends {stop - end} bytes too late); export or copy it again")
        return key, body, stop

    def too_many(self) -> GraphTooLarge:
        return GraphTooLarge(
            f"model file: more than {self.limits.max_fields} fields, or {self.limits.max_parts} parts; a model of that many parts is not analysed"
        )

    def unseen(self, length: int) -> None:
        """Count what may lie in a field that is copied without a look inside."""
        self.parts += length // _SHORTEST_PART_BYTES
        if self.parts > self.limits.max_parts:
            raise self.too_many()

    def keep(self, parts: list[bytes | memoryview], chunk: bytes | memoryview) -> None:
        if not chunk:
            return
        self.kept_bytes += len(chunk)
        if self.kept_bytes > self.limits.max_structure_bytes:
            raise GraphTooLarge(f"model file: over {self.limits.max_structure_bytes} bytes even without large weights; such a structure is not analysed")
        parts.append(chunk)

    def message(self, kind: str, start: int, end: int, level: int) -> bytes:
        """A copy of the message without large payloads."""
        if level > _MAX_LEVELS:
            raise ModelUnreadable(f"model file: messages nest deeper than {_MAX_LEVELS} levels; not an exported model")
        children, skipped, payloads = _CHILDREN[kind], _SKIPPED[kind], _PAYLOADS[kind]
        parts: list[bytes | memoryview] = []
        run = at = start
        while at < end:
            key, body, stop = self.field(at, end)
            number, length = key >> 3, stop - body
            if key & 7 == _DELIMITED:
                if number in skipped or (number in payloads and length > self.max_payload_bytes):
                    self.keep(parts, self.data[run:at])
                    run = stop
                elif number in children and length > _SMALL_BYTES:
                    self.keep(parts, self.data[run:at])
                    inner = self.message(children[number], body, stop, level + 1)
                    self.keep(parts, _encoded(key) + _encoded(len(inner)))
                    parts.append(inner)
                    run = stop
                elif number not in payloads:
                    self.unseen(length)
            at = stop
        self.keep(parts, self.data[run:end])
        return b"".join(parts)


def strip(onnx_model: bytes | memoryview, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The same model without the payload of large tensors and without prose; names, shapes, types and small constants stay.

    Raises:
        ModelUnreadable: the bytes are not a protocol buffer, or end too early.
        GraphTooLarge: the file, or its structure alone, is over the limits.

    """
    if len(onnx_model) > limits.max_file_bytes:
        raise GraphTooLarge(f"model file: {len(onnx_model)} bytes, more than {limits.max_file_bytes}; keep the weights in external data")
    data = memoryview(onnx_model)
    return _Walk(data, limits).message("ModelProto", 0, len(data), 0)

"""Uploads: an AnalyzeGraph request taken apart without copying the model file in it, which may be most of the process' memory."""

from typing import Final

from google.protobuf.message import DecodeError
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan_fleet.errors import MessageRefused

_MODEL: Final = pb.AnalyzeGraphRequest.DESCRIPTOR.fields_by_name["onnx_model"].number
_DELIMITED: Final = 2
_VARINT_BYTES: Final = 10


def taken_apart(request: bytes) -> tuple[memoryview, pb.AnalyzeGraphRequest]:
    """The model file within the request's bytes, and the request without it.

    Raises:
        MessageRefused: it is no such request.
    """
    view, at = memoryview(request), 0
    model, rest = view[:0], []
    while at < len(view):
        start = at
        key, at = _number(view, at)
        if key & 7 != _DELIMITED:
            # Only fields that this version does not know are of another kind; the parser below skips them all.
            rest.append(view[start:])
            break
        length, at = _number(view, at)
        if length > len(view) - at:
            raise MessageRefused("the request is truncated")
        if key >> 3 == _MODEL:
            # Of a field that is given twice the last counts.
            model = view[at : at + length]
        else:
            rest.append(view[start : at + length])
        at += length
    try:
        return model, pb.AnalyzeGraphRequest.FromString(b"".join(rest))
    except DecodeError as error:
        raise MessageRefused(f"the request cannot be read: {error}") from error


def _number(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for position in range(_VARINT_BYTES):
        if at + position >= len(view):
            break
        byte = view[at + position]
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, at + position + 1
    raise MessageRefused("the request is truncated")

"""Requests with model files are taken apart without copying the file, and mean what protocol buffers say they mean."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan_fleet.errors import MessageRefused
from stowplan_predictor.serving.uploads import taken_apart

_shapes = st.dictionaries(st.text(max_size=8), st.lists(st.integers(0, 2**40), max_size=5), max_size=4)


def _request(model: bytes, shapes: dict[str, list[int]]) -> pb.AnalyzeGraphRequest:
    return pb.AnalyzeGraphRequest(onnx_model=model, input_shapes={name: pb.Shape(dimensions=sizes) for name, sizes in shapes.items()})


@given(st.binary(max_size=300), _shapes)
@settings(deadline=None, max_examples=30)
def test_a_request_comes_apart_into_what_was_put_in(model: bytes, shapes: dict[str, list[int]]) -> None:
    """The file as it was sent, a view into the request; names and shapes beside it."""
    raw = _request(model, shapes).SerializeToString()
    found, rest = taken_apart(raw)

    assert bytes(found) == model
    assert not model or found.obj is raw
    assert rest == _request(b"", shapes)


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_read_as_protocol_buffers_read_them(raw: bytes) -> None:
    """What they refuse is refused, and what they read is read alike, down to fields nobody knows and fields given twice."""
    try:
        wanted = pb.AnalyzeGraphRequest.FromString(raw)
    except DecodeError:
        with pytest.raises(MessageRefused):
            taken_apart(raw)
        return
    try:
        found, rest = taken_apart(raw)
    except MessageRefused:
        return  # stricter is allowed: numbers of more bytes than they need
    assert bytes(found) == wanted.onnx_model
    assert rest.input_shapes == wanted.input_shapes


def test_of_two_files_the_last_counts() -> None:
    """As protocol buffers merge messages."""
    raw = _request(b"one", {"x": [1]}).SerializeToString() + _request(b"two", {}).SerializeToString()
    found, rest = taken_apart(raw)

    assert bytes(found) == b"two"
    assert dict(rest.input_shapes) == {"x": pb.Shape(dimensions=[1])}

"""Frames between the server and the processes that read files: values and arrays arrive as they went, nothing else does, and nobody waits for ever."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from stowplan_predictor.pipelines.analyses import Analysed, reading_here
from stowplan_predictor.pipelines.footprints import footprint_bytes
from stowplan_predictor.serving import frames
from support.synthetic_bundles import chain_model


@dataclass(frozen=True, slots=True)
class _Values:
    name: str
    numbers: NDArray[np.float64]
    flags: NDArray[np.bool_]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_arrays_arrive_with_type_shape_and_content() -> None:
    """Scalars, empty ones and those that are not contiguous too."""
    sent = _Values("x", np.arange(12.0).reshape(3, 4).T, np.zeros((0, 2), np.bool_))
    found = frames.decode(frames.encode(sent), _Values)

    assert (found.name, found.numbers.tolist(), found.flags.shape) == ("x", sent.numbers.tolist(), (0, 2))
    assert found.flags.dtype == np.bool_


def test_an_analysis_arrives_whole() -> None:
    """Everything that predictions need of a graph: equal in every value and every array."""
    sent = reading_here()(chain_model(), {})
    found = frames.decode(frames.encode(sent), Analysed)

    assert found.summary == sent.summary
    assert frames.encode(found) == frames.encode(sent)
    assert footprint_bytes(found.work) < 2 * footprint_bytes(sent.work)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", msgspec.msgpack.encode({"name": 1}), msgspec.msgpack.encode({"name": "x", "numbers": ["O", [1], b"12345678"], "flags": []})]
)
def test_what_is_no_such_value_is_refused(data: bytes) -> None:
    """Damage, other types, and arrays of objects."""
    with pytest.raises(frames.PeerGone):
        frames.decode(data, _Values)


def test_objects_do_not_travel() -> None:
    """Only plain values are sent."""
    with pytest.raises(TypeError):
        frames.encode(_Values("x", np.array([object()]), np.array([True])))
    with pytest.raises(TypeError, match="no plain value"):
        frames.encode(object())


def test_nobody_waits_beyond_the_time_given(ends: tuple[socket.socket, socket.socket]) -> None:
    """Neither for a frame that does not come, nor for one that comes in part, nor to be rid of one."""
    ours, theirs = ends
    with pytest.raises(frames.PeerLate):
        frames.receive(ours, 0.05)
    theirs.sendall(b"\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0abc")
    with pytest.raises(frames.PeerLate):
        frames.receive(ours, 0.05)
    with pytest.raises(frames.PeerLate):
        frames.send(ours, b"", bytes(16 << 20), 0.05)


def test_an_end_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    """Whoever closes or dies is gone at once, for readers and writers."""
    ours, theirs = ends
    theirs.close()
    with pytest.raises(frames.PeerGone):
        frames.receive(ours, 5)
    with pytest.raises(frames.PeerGone):
        frames.send(ours, b"head", bytes(1 << 20), 5)

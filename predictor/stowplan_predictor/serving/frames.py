"""Frames between the server and the processes that read model files: a head of plain values, a body of bytes. Nothing in them is executed.

Values are MessagePack by their types (msgspec); arrays travel as type, shape and bytes.
"""

import socket
import struct
import time
from typing import Any, Final, TypeVar, get_origin

import msgspec
import numpy as np

T = TypeVar("T")

_LENGTHS: Final = struct.Struct("<QQ")
# Bools, integers and floats: what arrays of ours hold. Never objects.
_KINDS: Final = frozenset("biuf")


class PeerGone(Exception):
    """The other side closed the connection or ended."""


class PeerLate(Exception):
    """The other side did not answer in time."""


def encode(value: object) -> bytes:
    """A dataclass of plain values and arrays as bytes."""
    return msgspec.msgpack.encode(value, enc_hook=_array_out)


def decode(data: bytes | bytearray | memoryview, kind: type[T]) -> T:
    """What `encode` made of a value of that type.

    Raises:
        PeerGone: it is nothing of that type: the other side is not what it should be.
    """
    try:
        return msgspec.msgpack.decode(memoryview(data), type=kind, dec_hook=_array_in)
    except (msgspec.DecodeError, ValueError, TypeError, KeyError) as error:
        raise PeerGone(f"what came is no {kind.__name__}: {error}") from error


def _array_out(value: Any) -> Any:  # noqa: ANN401 - msgspec's hook
    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
        return (value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes())
    raise TypeError(f"{type(value).__name__} is no plain value")


def _array_in(kind: type[Any], value: Any) -> Any:  # noqa: ANN401 - msgspec's hook
    if (get_origin(kind) or kind) is not np.ndarray:
        raise TypeError(f"{kind} is no plain type")
    name, shape, data = value
    dtype = np.dtype(name)
    if dtype.kind not in _KINDS:
        raise ValueError(f"an array of {name}")
    return np.frombuffer(data, dtype).reshape(shape)


def send(connection: socket.socket, head: bytes, body: bytes | memoryview = b"", timeout_s: float | None = None) -> None:
    """Sends a frame.

    Raises:
        PeerGone: nobody is there.
        PeerLate: it was not taken within `timeout_s`.
    """
    connection.settimeout(timeout_s)
    try:
        connection.sendall(_LENGTHS.pack(len(head), len(body)) + head)
        connection.sendall(body)
    except TimeoutError as error:
        raise PeerLate(f"a frame was not taken within {timeout_s} s") from error
    except OSError as error:
        raise PeerGone(str(error)) from error


def receive(connection: socket.socket, timeout_s: float | None = None) -> tuple[bytearray, bytearray]:
    """Head and body of the next frame.

    Raises:
        PeerGone: the connection ended.
        PeerLate: it was not whole after `timeout_s`.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    head, body = _LENGTHS.unpack(_exactly(connection, _LENGTHS.size, deadline))
    return _exactly(connection, head, deadline), _exactly(connection, body, deadline)


def _exactly(connection: socket.socket, size: int, deadline: float | None) -> bytearray:
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise PeerLate("no whole frame in time")
        connection.settimeout(left)
        try:
            count = connection.recv_into(view[filled:])
        except TimeoutError as error:
            raise PeerLate("no whole frame in time") from error
        except OSError as error:
            raise PeerGone(str(error)) from error
        if count == 0:
            raise PeerGone(f"the connection ended after {filled} of {size} bytes")
        filled += count
    return buffer

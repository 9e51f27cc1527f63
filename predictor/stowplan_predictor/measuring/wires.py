"""Frames between a request generator and a measured server: a fixed header and a payload of the size of the network's inputs."""

import socket
import struct
from typing import Final

# Request: number, payload bytes. Answer: number, nanoseconds inside the runtime, nanoseconds in the queue.
REQUEST: Final = struct.Struct("<QQ")
ANSWER: Final = struct.Struct("<QQQ")


class PeerGone(Exception):
    """The other side closed the connection."""


def receive_exactly(connection: socket.socket, buffer: memoryview) -> None:
    """Fills the buffer.

    Raises:
        PeerGone: the connection ended first.
    """
    filled = 0
    while filled < len(buffer):
        count = connection.recv_into(buffer[filled:])
        if count == 0:
            raise PeerGone(f"the connection ended after {filled} of {len(buffer)} bytes")
        filled += count

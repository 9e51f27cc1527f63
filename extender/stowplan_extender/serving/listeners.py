"""Listening sockets, and how to stop listening without losing who is connected already.

Closing a listening socket resets the connections that wait in its queue: whoever connected a moment before has a broken pipe. So it is made deaf
first: new connections are no longer answered (and refused once it is closed), while those in the queue are taken and served.
"""

import contextlib
import ctypes
import socket
import struct
from typing import Final

# As asyncio's own servers.
_BACKLOG: Final = 128
# asm-generic/socket.h; not in Python's socket module.
_SO_ATTACH_FILTER: Final = 26
# linux/filter.h: classic BPF, each instruction (code u16, jt u8, jf u8, k u32). A filter of a TCP socket sees packets from the TCP header on; its byte 13
# holds the flags (RFC 9293, section 3.1). Only what asks for a new connection (SYN without ACK) is dropped: a client whose handshake is under way believes
# itself connected already, and what it sends would be reset when the socket is closed.
_INSTRUCTIONS: Final = (
    (0x30, 0, 0, 13),  # ldb [13]
    (0x54, 0, 0, 0x12),  # and #SYN|ACK
    (0x15, 0, 1, 0x02),  # jeq #SYN
    (0x06, 0, 0, 0),  # ret #0: take nothing of it
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1: take all of it
)
_DROP_NEW: Final = b"".join(struct.pack("HBBI", *instruction) for instruction in _INSTRUCTIONS)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a host and port (0: any free one).

    Raises:
        OSError: the port is taken, or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def deafen(listener: socket.socket) -> None:
    """Makes it answer no new connection; where the platform cannot, nothing happens, and closing it may reset a connection."""
    instructions = ctypes.create_string_buffer(_DROP_NEW, len(_DROP_NEW))
    program = struct.pack("HL", len(_INSTRUCTIONS), ctypes.addressof(instructions))  # native alignment puts the pointer where the kernel looks
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

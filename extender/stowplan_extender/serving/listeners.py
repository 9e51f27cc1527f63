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
# linux/filter.h: one instruction of classic BPF, `ret #0`: take nothing of the packet. (code u16, jt u8, jf u8, k u32)
_DROP_ALL: Final = struct.pack("HBBI", 0x06, 0, 0, 0)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a host and port (0: any free one).

    Raises:
        OSError: the port is taken, or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def deafen(listener: socket.socket) -> None:
    """Makes it answer no new connection; where the platform cannot, nothing happens, and closing it may reset a connection."""
    instruction = ctypes.create_string_buffer(_DROP_ALL)
    program = struct.pack("HL", 1, ctypes.addressof(instruction))  # native alignment puts the pointer where the kernel looks
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

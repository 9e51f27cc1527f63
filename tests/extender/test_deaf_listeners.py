"""A server that ends answers nobody new, and loses nobody who is connected or about to be."""

import socket
import struct
import sys

import pytest
from stowplan_extender.serving import listeners

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets have filters on Linux only")


def segment(flags: int, payload: bytes = b"") -> bytes:
    """A TCP header (RFC 9293, section 3.1) with what follows it."""
    return struct.pack("!HHIIBBHHH", 40_000, 443, 1, 1, 5 << 4, flags, 1_024, 0, 0) + payload


@pytest.mark.parametrize(
    ("flags", "passes"),
    [(SYN, False), (ACK, True), (PSH | ACK, True), (SYN | ACK, True), (FIN | ACK, True), (RST, True), (SYN | 0xC0, False)],
    ids=["SYN", "ACK", "data", "SYN-ACK", "FIN", "RST", "SYN with congestion notification"],
)
def test_only_what_asks_for_a_new_connection_is_dropped(flags: int, *, passes: bool) -> None:
    """The last packet of a handshake, and the request behind it, belong to a client that believes itself connected.

    A datagram socket runs the same filter over what it is sent, here whole TCP segments.
    """
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        other.setblocking(False)
        listeners.deafen(other)
        one.send(segment(flags, b"POST /filter"))
        if passes:
            assert other.recv(100) == segment(flags, b"POST /filter")
        else:
            with pytest.raises(BlockingIOError):
                other.recv(100)


def test_who_waits_in_the_queue_is_taken_and_whoever_comes_later_is_not() -> None:
    """Connected before: served, though the listener went deaf and was closed since. Later: no connection."""
    listener = listeners.listen("127.0.0.1", 0)
    address = listener.getsockname()
    with socket.create_connection(address, 5) as early:
        listeners.deafen(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(address, 0.2)
        early.sendall(b"hello")
        taken, _ = listener.accept()
        listener.close()
        with taken:
            assert taken.recv(5) == b"hello"
            taken.sendall(b"bye")
        assert early.recv(3) == b"bye"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)

"""Exchanges: the scheduler's requests over HTTP/1.1, answered one after the other on connections that stay open.

A web framework takes several times the processor time of a warm filter for each request, and the scheduler asks three times a pod, on cores that it shares
with us. So httptools (llhttp, the parser of Node.js) reads, and nothing stands between it and the verbs but what is here: whole bodies up to a size, answers in
the order of the requests, and an end at which no request that was taken stays without its answer.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

import httptools

Handle = Callable[[bytes | None], Awaitable[bytes]]
"""From a request's body, None where it was larger than allowed, to the answer's, JSON both. Raises nothing."""

_HEAD_BYTES_MAX: Final = 64 << 10
# Requests of one connection that were read before their predecessors were answered; a client that sends more is not read meanwhile.
_AHEAD: Final = 8
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# Between two looks whether anybody is connected still; at both nobody must be, for one may be on its way from the socket's queue.
_LOOK_S: Final = 0.05


class Exchanges:
    """A server of POST requests by path."""

    def __init__(self, handles: Mapping[str, Handle], body_bytes_max: int) -> None:
        self.handles = handles
        self.body_bytes_max = body_bytes_max
        self.leaving = False
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serves on a listening socket."""
        self._server = await asyncio.get_running_loop().create_server(lambda: Connection(self), sock=listener)

    def farewell(self) -> None:
        """From now on each answer is the last one on its connection, and says so."""
        self.leaving = True

    async def emptied(self) -> None:
        """Returns once nobody is connected any more."""
        quiet = 0
        while quiet < 2:
            await asyncio.sleep(_LOOK_S)
            quiet = 0 if self.connections else quiet + 1

    async def close(self, timeout_s: float) -> None:
        """Takes no more requests; those that are taken are answered, for so many seconds at most."""
        self.leaving = True
        if self._server is not None:
            self._server.close()
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for connection in list(self.connections):
            connection.end()
        if self._server is not None:
            await self._server.wait_closed()


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, exchanges: Exchanges) -> None:
        self.task: asyncio.Task[None] | None = None
        """Answers what is waiting."""
        self._exchanges = exchanges
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[bytes, str, bytes | None, bool]] = deque()
        self._head_bytes = 0
        self._in_head = True
        self._paused = False
        self._room = asyncio.Event()
        """Set while what is written gets away."""
        self._room.set()
        self._begin()

    def _begin(self) -> None:
        self._target, self._pieces, self._size, self._expects = b"", list[bytes](), 0, False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no common class
        self._exchanges.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 -- a protocol's signature
        """They left; what they asked is still done, for a binding must come to its end."""
        self._transport = None
        self._room.set()
        self._exchanges.connections.discard(self)

    def pause_writing(self) -> None:
        """The client does not read its answers: nothing more is answered until it does."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """A piece of a request, or several requests."""
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(400, f"not an HTTP request that is understood here: {error}")
            return
        if self._in_head and self._head_bytes > _HEAD_BYTES_MAX:
            self._refuse(431, "the request's headers are too large")

    # What the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._begin()

    def on_url(self, piece: bytes) -> None:
        """Its target, in pieces."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._expects = self._expects or (name.lower() == b"expect" and value.lower() == b"100-continue")

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._in_head = False
        if self._expects and self._transport is not None:
            self._transport.write(_CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Some of the body. What is too large is read to its end all the same: a client that cannot finish writing does not read an answer."""
        self._size += len(piece)
        if self._size <= self._exchanges.body_bytes_max:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """The request is whole."""
        body = b"".join(self._pieces) if self._size <= self._exchanges.body_bytes_max else None
        self._waiting.append((self._parser.get_method(), self._target.decode("latin-1"), body, self._parser.should_keep_alive()))
        self._head_bytes, self._in_head = 0, True
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._answer())
        elif len(self._waiting) > _AHEAD and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    # Answering

    async def _answer(self) -> None:
        while self._waiting:
            await self._room.wait()
            method, target, body, more = self._waiting.popleft()
            handle = self._exchanges.handles.get(target.partition("?")[0])
            if handle is None:
                status, answer = "404 Not Found", b'{"Error":"no such path"}'
            elif method != b"POST":
                status, answer = "405 Method Not Allowed", b'{"Error":"only POST is answered here"}'
            else:
                status, answer = "200 OK", await handle(body)
            if not self._write(status, answer, last=self._exchanges.leaving or not more):
                break
        self.task = None

    def _write(self, status: str, answer: bytes, *, last: bool) -> bool:
        """Writes an answer; whether there may be another one."""
        if self._transport is None or self._transport.is_closing():
            return False
        close = "Connection: close\r\n" if last else ""
        self._transport.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n{close}\r\n".encode() + answer)
        if last:
            self._transport.close()
        elif self._paused and len(self._waiting) <= _AHEAD:
            self._transport.resume_reading()
            self._paused = False
        return not last

    def _refuse(self, status: int, text: str) -> None:
        self._write(f"{status} Refused", b'{"Error":"%s"}' % text.encode("ascii", "replace").replace(b'"', b"'").replace(b"\\", b"/"), last=True)

    def end(self) -> None:
        """Closes the connection, once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

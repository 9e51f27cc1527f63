"""The scheduler's connections: whole requests in, one answer each in order, whatever arrives in whatever pieces; and an end without a lost answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from stowplan_extender import listeners
from stowplan_extender.exchanges import Exchanges

# Both loops that the process may run on.
RUN = [asyncio.run, uvloop.run]


class Harbour:
    """A server that echoes, and waits with it where it is told to."""

    def __init__(self, body_bytes_max: int = 100) -> None:
        self.done: list[bytes | None] = []
        self.asked, self.ended = asyncio.Event(), asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.exchanges = Exchanges({"/echo": self._echo}, body_bytes_max)
        self.port = 0

    async def _echo(self, body: bytes | None) -> bytes:
        self.asked.set()
        await self.gate.wait()
        self.done.append(body)
        self.ended.set()
        return b"too large" if body is None else body


@asynccontextmanager
async def serving(body_bytes_max: int = 100) -> AsyncIterator[Harbour]:
    harbour, listener = Harbour(body_bytes_max), listeners.listen("127.0.0.1", 0)
    harbour.port = listener.getsockname()[1]
    await harbour.exchanges.start(listener)
    try:
        yield harbour
    finally:
        harbour.gate.set()
        await harbour.exchanges.close(1.0)
        listener.close()


def post(body: bytes, path: str = "/echo", more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Status line, headers and body of the next answer."""
    async with asyncio.timeout(5):
        status, _, headers = (await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
        length = next(int(line.split(":")[1]) for line in headers.splitlines() if line.startswith("Content-Length"))
        return status, headers, await reader.readexactly(length)


@pytest.mark.parametrize("run", RUN)
@given(bodies=st.lists(st.binary(max_size=30), min_size=1, max_size=12), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_every_request_has_its_answer_in_order(run: Callable[[Coroutine[Any, Any, None]], None], bodies: list[bytes], cuts: list[int]) -> None:
    """Requests that are sent ahead, cut into pieces anywhere, are answered one after the other, each with its own body, on one connection."""

    async def talk() -> None:
        async with serving() as harbour:
            reader, writer = await asyncio.open_connection("127.0.0.1", harbour.port)
            text, turn = b"".join(map(post, bodies)), 0
            while text:
                cut = cuts[turn % len(cuts)]
                writer.write(text[:cut])
                await asyncio.sleep(0)
                text, turn = text[cut:], turn + 1
            assert [(await answer(reader))[2] for _ in bodies] == bodies
            writer.close()

    run(talk())


async def test_chunked_bodies_and_clients_that_ask_first() -> None:
    """A chunked body is put together; a client that waits for 100 Continue is told to go on."""
    async with serving() as harbour:
        reader, writer = await asyncio.open_connection("127.0.0.1", harbour.port)
        writer.write(b"POST /echo?x=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert (await answer(reader))[2] == b"abcde"
        head, _, body = post(b"whole", more="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await answer(reader))[2] == b"whole"
        writer.close()


async def test_a_body_that_is_too_large_is_refused_in_words_and_the_connection_goes_on() -> None:
    """It is read to its end, kept nowhere, and handed on as too large; the next request is answered as ever."""
    async with serving(body_bytes_max=100) as harbour:
        reader, writer = await asyncio.open_connection("127.0.0.1", harbour.port)
        writer.write(post(b"x" * 101) + post(b"x" * 100))
        assert (await answer(reader))[2] == b"too large"
        assert (await answer(reader))[2] == b"x" * 100
        writer.close()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"nonsense\r\n\r\n", "400"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: none\r\n\r\n", "400"),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "400"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (70 << 10), "431"),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "404"),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
    ],
)
async def test_what_is_no_request_of_the_scheduler_is_refused(text: bytes, status: str) -> None:
    """Each with the status that says why; no handle hears of it."""
    async with serving() as harbour:
        reader, writer = await asyncio.open_connection("127.0.0.1", harbour.port)
        writer.write(text)
        line, headers, _ = await answer(reader)
        assert line.split()[1] == status
        assert harbour.done == []
        if status in {"400", "431"}:
            assert "Connection: close" in headers
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("request_text", [b"POST /echo HTTP/1.0\r\nContent-Length: 1\r\n\r\na", post(b"a", more="Connection: close\r\n")])
async def test_a_client_that_wants_one_answer_gets_one(request_text: bytes) -> None:
    """HTTP/1.0 and `Connection: close` end the connection after the answer, and the answer says so."""
    async with serving() as harbour:
        reader, writer = await asyncio.open_connection("127.0.0.1", harbour.port)
        writer.write(request_text)
        line, headers, body = await answer(reader)
        assert (line, body) == ("HTTP/1.1 200 OK", b"a")
        assert "Connection: close" in headers
        assert await reader.read() == b""
        writer.close()


async def test_what_was_asked_is_done_though_the_client_left() -> None:
    """A binding must come to its end whoever still listens."""
    async with serving() as harbour:
        harbour.gate.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", harbour.port)
        writer.write(post(b"bind"))
        await harbour.asked.wait()
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(5):
            await harbour.exchanges.emptied()
        assert harbour.done == []
        harbour.gate.set()
        async with asyncio.timeout(5):
            await harbour.ended.wait()
        assert harbour.done == [b"bind"]


@pytest.mark.parametrize("run", RUN)
def test_an_end_answers_what_it_took_and_says_that_it_is_the_last(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """After the farewell an answer ends its connection; closing waits for the request that is being worked on."""
    run(_end())


async def _end() -> None:
    async with serving() as harbour:
        harbour.gate.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", harbour.port)
        idle, other = await asyncio.open_connection("127.0.0.1", harbour.port)
        writer.write(post(b"last"))
        await harbour.asked.wait()
        harbour.exchanges.farewell()
        closing = asyncio.create_task(harbour.exchanges.close(5.0))
        await asyncio.sleep(0)
        harbour.gate.set()
        await closing
        _, headers, body = await answer(reader)
        assert body == b"last"
        assert "Connection: close" in headers
        assert await idle.read() == b""
        writer.close()
        other.close()


async def test_who_does_not_read_is_not_answered_on_and_on() -> None:
    """A client that only writes stops being read: what is kept for it is bounded."""
    async with serving(body_bytes_max=1 << 20) as harbour:
        reader, writer = await asyncio.open_connection("127.0.0.1", harbour.port, limit=1 << 10)
        large = post(b"x" * (1 << 20))
        for _ in range(64):
            writer.write(large)
        before = -1
        while len(harbour.done) != before:
            before = len(harbour.done)
            await asyncio.sleep(0.1)
        assert before < 64
        assert reader is not None
        writer.transport.abort()

"""Connections of the scheduler as they are fuzzed: bytes that come in pieces, the real parser, handles and verbs behind it, no socket."""

import asyncio
import contextlib
import json
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, cast

import httptools
from stowplan_extender.exchanges import Connection, Exchanges
from stowplan_extender.serving import scheduler_handles
from support.fuzz_scenes import ExtenderScene

_BODY_BYTES_MAX: Final = 4_096
_STATUSES: Final = frozenset({100, 200, 400, 404, 405, 431})
# Turns of the loop within which whatever was asked must be answered: the API server in memory takes a few for a binding.
_TURNS_MAX: Final = 10_000


class ExchangeBroken(AssertionError):
    """What no client may bring about."""


class _Transport:
    """What a connection writes to; reads nothing by itself."""

    def __init__(self) -> None:
        self.sent, self.closing, self.paused = bytearray(), False, False

    def write(self, data: bytes) -> None:
        if self.closing:
            raise ExchangeBroken("written after the end")
        self.sent += data

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class _Answers:
    """Reads what was written, as a client would."""

    def __init__(self) -> None:
        self.body, self.whole = b"", 0
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.body = b""

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status not in _STATUSES:
            raise ExchangeBroken(f"status {status}")
        if status != 100:
            self.whole += 1
            if "the extender failed" in str(json.loads(self.body)):
                raise ExchangeBroken(f"a bug: {self.body[:500]!r}")


@contextmanager
def exchanges_target() -> Iterator[Callable[[bytes], None]]:
    """Bytes that come in on a connection of the scheduler."""
    scene = ExtenderScene()

    def target(data: bytes) -> None:
        quay = scene.next()
        exchanges = Exchanges(scheduler_handles(quay.verbs, quay.metrics), _BODY_BYTES_MAX)
        sent = scene.loop.run_until_complete(_talk(exchanges, data))
        answers = _Answers()
        with contextlib.suppress(httptools.HttpParserUpgrade):
            answers.parser.feed_data(sent)
        if exchanges.connections:
            raise ExchangeBroken("a connection that is lost is still known")

    with contextlib.closing(scene.loop):
        yield target


async def _talk(exchanges: Exchanges, data: bytes) -> bytes:
    rng, transport, connection = random.Random(zlib.crc32(data)), _Transport(), Connection(exchanges)
    connection.connection_made(cast("asyncio.Transport", transport))
    start = 0
    while start < len(data) and not transport.closing:
        end = start + rng.choice((1, 7, 40, 200, 1_000, len(data)))
        connection.data_received(data[start:end])
        start = end
        if rng.random() < 0.3:
            await asyncio.sleep(0)
        await _until(lambda: not transport.paused or transport.closing, "reading is never resumed")
    if rng.random() < 0.5:
        connection.connection_lost(None)
    await _until(lambda: connection.task is None, "a request is never answered")
    connection.connection_lost(None)
    return bytes(transport.sent)


async def _until(holds: Callable[[], bool], trouble: str) -> None:
    for _ in range(_TURNS_MAX):
        if holds():
            return
        await asyncio.sleep(0)
    raise ExchangeBroken(trouble)

"""A small real model server: one connection, a queue, one request in the runtime at a time.

It reads and writes on the same cores that it computes on, as any server does; response times include that.
"""

import queue
import socket
import threading
import time
from typing import Any, Final

import numpy as np

from stowplan_predictor.measuring import noises, wires

# A generator that never comes must not leave a server behind.
_ACCEPT_S: Final = 30.0


def serve(session: Any, outputs: list[str], feeds: dict[str, Any], path: str) -> dict[str, Any]:  # noqa: ANN401 - the runtime's own
    """Serves one connection on a Unix socket until it closes; tells its CPU time and the machine's during that."""
    waiting: queue.SimpleQueue[tuple[int, int, bytearray] | None] = queue.SimpleQueue()
    layout = [(name, value.dtype, value.shape, value.nbytes) for name, value in feeds.items()]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.settimeout(_ACCEPT_S)
        listener.listen(1)
        connection, _ = listener.accept()
        connection.settimeout(None)
    before, own_before = noises.cpu_times(), time.process_time()
    served = 0
    with connection:
        reader = threading.Thread(target=_read, args=(connection, waiting), daemon=True)
        reader.start()
        while (request := waiting.get()) is not None:
            number, arrived_ns, payload = request
            began_ns = time.monotonic_ns()
            session.run(outputs, _decode(payload, layout))
            ended_ns = time.monotonic_ns()
            connection.sendall(wires.ANSWER.pack(number, ended_ns - began_ns, began_ns - arrived_ns))
            served += 1
        reader.join()
    own_s, after = time.process_time() - own_before, noises.cpu_times()
    return {"served": served, "own_s": own_s, "wall_s": after.wall_s - before.wall_s}


def _decode(payload: bytearray, layout: list[tuple[str, Any, tuple[int, ...], int]]) -> dict[str, Any]:
    feeds, offset = {}, 0
    for name, dtype, shape, size in layout:
        feeds[name] = np.frombuffer(payload, dtype=dtype, count=size // dtype.itemsize, offset=offset).reshape(shape)
        offset += size
    return feeds


def _read(connection: socket.socket, waiting: "queue.SimpleQueue[tuple[int, int, bytearray] | None]") -> None:
    header = bytearray(wires.REQUEST.size)
    try:
        while True:
            wires.receive_exactly(connection, memoryview(header))
            number, size = wires.REQUEST.unpack(header)
            payload = bytearray(size)
            wires.receive_exactly(connection, memoryview(payload))
            waiting.put((number, time.monotonic_ns(), payload))
    except (wires.PeerGone, OSError):
        waiting.put(None)

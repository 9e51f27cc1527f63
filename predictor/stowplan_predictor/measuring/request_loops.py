"""Requests to a measured server: closed loop first (its service time), then open loop at scheduled moments drawn beforehand.

Response times count from the scheduled arrival, whatever the generator or the server did late: nothing is omitted because the system was busy.
"""

import os
import socket
import threading
import time
from typing import Any, Final

import numpy as np

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.measuring import distributions, wires

# The server answers what is queued within this, or it is stuck.
_DRAIN_S: Final = 60.0


def arrival_times_s(requests_per_second: float, count: int, seed: int) -> Any:  # noqa: ANN401 - a NumPy array
    """Moments of a Poisson process from 0, the same for the same seed."""
    return np.cumsum(np.random.default_rng(seed).exponential(1.0 / requests_per_second, count))


def generate(path: str, cpus: list[int], payload_file: str, closed_runs: int, states: list[dict[str, Any]]) -> dict[str, Any]:
    """Talks to the server at `path`: `closed_runs` one after the other, then each state's arrivals; a state may say `utilization` instead of a rate."""
    os.sched_setaffinity(0, cpus)
    with open(payload_file, "rb") as file:  # noqa: PTH123 - plain bytes
        payload = file.read()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        own_before = time.process_time()
        closed = _closed(connection, payload, closed_runs)
        service = distributions.describe(closed)
        answers = []
        for state in states:
            rate = state["utilization"] / (service.mean_ms / 1e3)
            count = max(1, int(min(state["max_requests"], rate * state["max_s"])))
            answers.append({"requests_per_second": rate, **_open(connection, payload, arrival_times_s(rate, count, state["seed"]))})
        own_s = time.process_time() - own_before
    return {"service": _plain(service), "states": answers, "own_s": own_s}


def _plain(described: distributions.Distribution) -> dict[str, Any]:
    return {name: getattr(described, name) for name in distributions.Distribution.__dataclass_fields__}


def _closed(connection: socket.socket, payload: bytes, runs: int) -> list[float]:
    """Round trips in milliseconds, one request at a time; the first fifth warms up."""
    header, durations = bytearray(wires.ANSWER.size), []
    for run in range(runs + runs // 5):
        started = time.monotonic()
        connection.sendall(wires.REQUEST.pack(run, len(payload)) + payload)
        wires.receive_exactly(connection, memoryview(header))
        if run >= runs // 5:
            durations.append((time.monotonic() - started) * 1e3)
    return durations


def _open(connection: socket.socket, payload: bytes, arrivals_s: Any) -> dict[str, Any]:  # noqa: ANN401
    count = len(arrivals_s)
    done_at, inside_ns = [0.0] * count, [0] * count

    def receive() -> None:
        header = bytearray(wires.ANSWER.size)
        for _ in range(count):
            wires.receive_exactly(connection, memoryview(header))
            number, inference_ns, _queued_ns = wires.ANSWER.unpack(header)
            done_at[number], inside_ns[number] = time.monotonic(), inference_ns

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    began = time.monotonic() + 0.01
    late_s = 0.0
    for number, arrival_s in enumerate(arrivals_s):
        wait_s = began + arrival_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        late_s = max(late_s, time.monotonic() - began - arrival_s)
        connection.sendall(wires.REQUEST.pack(number, len(payload)) + payload)
    receiver.join(_DRAIN_S)
    if receiver.is_alive():
        raise RuntimeRefused(f"the server did not answer {done_at.count(0.0)} of {count} requests within {_DRAIN_S:g} s")
    responses_ms = [(done - began - arrival) * 1e3 for done, arrival in zip(done_at, arrivals_s, strict=True)]
    return {
        "response": _plain(distributions.describe(responses_ms)),
        "p90_ms": float(np.percentile(responses_ms, 90)),
        "inference_mean_ms": sum(inside_ns) / count / 1e6,
        "duration_s": max(done_at) - began,
        "late_ms": late_s * 1e3,
    }

"""A wiretap between the scheduler and the extender: passes every call on as it is, remembers it, and can hold one back for a moment.

With nobody behind it a call is dropped without an answer, which the scheduler sees as it would see a dead extender.
"""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# The scheduler gives up after its own httpTimeout of 2 s; nothing may be held as long.
_HOLD_MAX_S = 1.5


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the scheduler and its answer."""

    verb: str
    pod: str
    """`namespace/name`."""
    request: dict[str, Any] = field(repr=False)
    answer: Any


class Wiretap:
    """What was said, and who is held."""

    def __init__(self, target_port: int) -> None:
        """Passes calls on to that loopback port."""
        self.target_port = target_port
        self.calls: list[Call] = []
        self._held: dict[tuple[str, str], threading.Event] = {}

    def about(self, namespace: str, verb: str | None = None) -> list[Call]:
        """The calls about pods of a namespace, in the order they were answered."""
        return [call for call in self.calls if call.pod.startswith(f"{namespace}/") and verb in (None, call.verb)]

    @contextmanager
    def holding(self, verb: str, namespace: str) -> Iterator[threading.Event]:
        """Holds calls of that verb about pods of that namespace until the event is set, each at most for a second and a half."""
        gate = self._held[verb, namespace] = threading.Event()
        try:
            yield gate
        finally:
            gate.set()
            self._held.pop((verb, namespace), None)

    def pass_on(self, verb: str, body: bytes) -> bytes | None:
        """Forwards one call; None where nobody answers."""
        request = json.loads(body)
        pod = _pod_of(request)
        gate = self._held.get((verb, pod.partition("/")[0]))
        if gate is not None:
            gate.wait(_HOLD_MAX_S)
        connection = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=5)
        try:
            connection.request("POST", f"/{verb}", body, {"Content-Type": "application/json"})
            answer = connection.getresponse().read()
        except OSError:
            self.calls.append(Call(verb, pod, request, None))
            return None
        finally:
            connection.close()
        self.calls.append(Call(verb, pod, request, json.loads(answer)))
        return answer


@contextmanager
def tapping(port: int, target_port: int) -> Iterator[Wiretap]:
    """Listens on a loopback port for the scheduler's calls."""
    wiretap = Wiretap(target_port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = wiretap.pass_on(self.path.strip("/"), body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Keeps quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield wiretap
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pod_of(request: dict[str, Any]) -> str:
    if "PodName" in request:
        return f"{request['PodNamespace']}/{request['PodName']}"
    metadata = request["Pod"]["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"

"""Logs: one JSON object a line, with stable keys.

`ts` (RFC 3339, UTC), `level`, `logger`, `msg` (a constant), then whatever the call passed in `extra`, such as `object` (see `about`).
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

_MINUTE_S: Final = 60.0


class _Formatter(JsonFormatter):
    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"ts": stamp, "level": record.levelname.lower(), "logger": record.name, "msg": log_data.pop("message", "")}
        rest = dict(log_data)
        log_data.clear()
        log_data.update(head)
        log_data.update({key: value for key, value in rest.items() if key not in head})


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Sends everything that is logged in this process to one stream, as JSON lines.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        stream: standard error when None.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter("%(message)s", json_default=str))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def about(kind: str, namespace: str, name: str, uid: str = "") -> dict[str, dict[str, str]]:
    """The `extra` that says which object a line is about."""
    fields = {"kind": kind, "ns": namespace, "name": name, "uid": uid}
    return {"object": {key: value for key, value in fields.items() if value}}


class Seldom:
    """Holds lines to a few a minute: what happens a thousand times a second is counted by a metric, and a log that tells each time hides everything else."""

    def __init__(self, lines_per_minute: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts monotonic seconds."""
        self._clock = clock
        self._told_at_s: deque[float] = deque(maxlen=lines_per_minute)
        self._left_out = 0

    def due(self) -> bool:
        """Whether one more line may be written now; counts it where it may."""
        now = self._clock()
        if len(self._told_at_s) == self._told_at_s.maxlen and now - self._told_at_s[0] < _MINUTE_S:
            self._left_out += 1
            return False
        self._told_at_s.append(now)
        return True

    def left_out(self) -> int:
        """How many lines were not due since it was last asked: for the line that is."""
        count, self._left_out = self._left_out, 0
        return count

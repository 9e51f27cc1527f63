"""Moments: now, on two clocks. Dates for people are the wall clock's; waiting times are a steady clock's, which nobody sets.

A wall clock that is set (by hand, or by a time service that corrects a large error) therefore moves no service: it is counted and logged, and only dates
that a former process wrote are read by it.
"""

import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter

from stowplan_operator.conditions import merges

logger = logging.getLogger(__name__)
# A time service slews smaller errors instead of jumping (chrony's and systemd-timesyncd's defaults lie below a second).
_JUMP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant."""

    date: dt.datetime
    """With a time zone."""
    steady_s: float
    """Of a clock that only goes forward; its zero means nothing."""

    @property
    def stamp(self) -> str:
        """As the API server writes times."""
        return merges.stamp(self.date)

    def since(self, stamp: str) -> float:
        """Seconds since a date that was written; 0 where it is no date or lies ahead."""
        then = merges.parse_stamp(stamp)
        return 0.0 if then is None else max(0.0, (self.date - then).total_seconds())


class Clock:
    """Tells moments, and notices when the wall clock jumps."""

    def __init__(self, jumps: Counter, wall: Callable[[], dt.datetime] | None = None, steady: Callable[[], float] = time.monotonic) -> None:
        """Starts.

        Args:
            jumps: counts them.
            wall: the date, with a time zone; None for the machine's.
            steady: seconds that only grow.
        """
        self._jumps, self._wall, self._steady = jumps, wall or (lambda: dt.datetime.fromtimestamp(time.time(), dt.UTC)), steady
        self._last = self._read()

    def now(self) -> Moment:
        """The present moment."""
        last, self._last = self._last, self._read()
        ahead_s = (self._last.date - last.date).total_seconds() - (self._last.steady_s - last.steady_s)
        if abs(ahead_s) > _JUMP_S:
            self._jumps.inc()
            logger.warning("the wall clock jumped; waiting times are not touched by it", extra={"seconds": round(ahead_s, 1)})
        return self._last

    def _read(self) -> Moment:
        return Moment(self._wall(), self._steady())

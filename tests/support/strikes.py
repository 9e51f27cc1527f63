"""Strikes: a process that is killed after one of its writes was carried out, before it hears of it."""

import threading

from support.components import Component
from support.weathers import Weather


class Strike:
    """Counts the writes that come through a weather from now on, and kills whoever makes them after so many."""

    def __init__(self, weather: Weather, target: Component, after: int) -> None:
        """`after` 0: only counts."""
        self.written: list[str] = []
        """`METHOD path`, in order."""
        self._weather, self._target, self._after = weather, target, after
        self._lock, self._over, self._struck = threading.Lock(), False, False
        weather.carried_out = self._count

    def _count(self, what: str) -> None:
        with self._lock:
            if self._over:
                return
            self.written.append(what)
            if len(self.written) == self._after:
                self._target.kill()
                self._struck = True

    @property
    def struck(self) -> bool:
        """True once the process is gone: before that a new one would find its ports taken, or be mistaken for it."""
        return self._struck

    def end(self) -> bool:
        """Counts no more; answers whether it struck. It never does afterwards: a kill under way is waited for."""
        self._weather.carried_out = None
        with self._lock:
            self._over = True
            return self._struck

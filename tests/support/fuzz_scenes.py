"""The extender that is fuzzed: a small cluster on a loop of its own."""

import asyncio
from typing import Final

from support.quays import Quay

# A quay that has seen so many inputs is let go, so that what grows is ours and not what inputs asked us to keep.
_RENEW_AFTER: Final = 5_000


class ExtenderScene:
    """An extender with a small cluster, renewed now and then; everything runs on one loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._left = 0
        self.quay = Quay()

    def next(self) -> Quay:
        """The extender for the next input."""
        if self._left == 0:
            self._left = _RENEW_AFTER
            self.quay = Quay(ant=10.0, bee=8.0)
            self.quay.service("ant")
            self.quay.service("bee", slo_ms=500)
            for name in ("one", "two"):
                self.quay.node(name)
            self.quay.pod("p", "ant")
        self._left -= 1
        return self.quay

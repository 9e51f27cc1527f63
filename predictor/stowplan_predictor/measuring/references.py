"""How fast the machine itself is at this moment: a fixed matrix product and a fixed copy, against their own best times.

On a virtual machine the host's other guests are invisible: no clock in here counts them. But two cores that the host runs on one, or memory bandwidth that
others use, slow down a fixed piece of work that was fast a second ago. Each sample set is bracketed by it; a set beside a slow reference is taken again.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from stowplan_predictor.measuring import probes

# A product of 512 x 512 matrices: 2.5 ms on one core of 2023, so that a look costs little and is over before the machine changes again.
_SIDE: Final = 512
# More than the last cache of most machines, twice: the copy must go to memory.
_COPIED_BYTES: Final = 48 << 20
_PRODUCTS: Final = 7
_COPIES: Final = 3
# Spinning threads sleep after about 30 ms. Pauses of 30 ms never made the host place our cores anew where it was tried, 50 ms often did.
_IDLE_S: Final = 0.08
# Slower than this against the machine's own best is somebody else's doing: products repeat within 8 % on a quiet machine, copies within 15 %.
MAX_PRODUCT_SLOWDOWN: Final = 1.15
MAX_COPY_SLOWDOWN: Final = 1.25
# Two threads that share a physical core take twice as long, two that wake up first a few percent.
MAX_PLACED_SLOWDOWN: Final = 1.3
# Share of looks that may be faster than what we call the best: the very best is luck.
_BEST_PERCENTILE: Final = 10


@dataclass(frozen=True, slots=True)
class Reference:
    """Times of the fixed work on a number of cores."""

    product_ms: float
    copy_ms: float


class Copy:
    """The fixed copy."""

    def __init__(self) -> None:
        self._source = np.ones(_COPIED_BYTES // 4, np.float32)
        self._target = np.empty_like(self._source)
        self.milliseconds()

    def milliseconds(self) -> float:
        """Median of a few copies, about 15 ms together; caches are cold after it."""
        return float(np.median([self._once_ms() for _ in range(_COPIES)]))

    def _once_ms(self) -> float:
        started = time.perf_counter()
        np.copyto(self._target, self._source)
        return (time.perf_counter() - started) * 1e3


class Placement:
    """Whether the cores of this process are cores of their own at this moment, and how to get them.

    A host may run two virtual cores on one physical core: each then has half of it, for as long as both are busy without a pause. Once both have idled for some
    50 ms it places them anew, well about every other time; a product on all threads tells how. Its threads spin when it ends, and keep the place until
    what is measured has taken over.
    """

    def __init__(self, threads: int, *, pooled: bool = False) -> None:
        self._product = probes.MatrixProduct(threads, _SIDE, pooled=pooled)
        self._product.seconds(1)

    def settle(self, limit_ms: float, tries: int) -> float:
        """Idles and looks until a product takes at most `limit_ms`, at most `tries` times; the last product's time. What is measured must follow at once."""
        product_ms = float("inf")
        while tries > 0 and product_ms > limit_ms:
            time.sleep(_IDLE_S)
            product_ms = self.product_ms()
            tries -= 1
        return product_ms

    def product_ms(self) -> float:
        """How long the product takes now."""
        return self._product.seconds(_PRODUCTS) * 1e3


class Referee:
    """The fixed work, ready to run with some threads in this process (on the cores that the process is pinned to)."""

    def __init__(self, threads: int, *, pooled: bool = False) -> None:
        self._product = probes.MatrixProduct(threads, _SIDE, pooled=pooled)
        self._copy = Copy()
        self.look()

    def look(self) -> Reference:
        """Both times now: medians of a few runs, about 60 ms together."""
        product_ms = self._product.seconds(_PRODUCTS) * 1e3
        return Reference(product_ms, self._copy.milliseconds())

    def best(self, seconds: float) -> Reference:
        """The machine's own best over some time: what to hold later looks against."""
        looks: list[Reference] = []
        deadline = time.monotonic() + seconds
        while not looks or time.monotonic() < deadline:
            looks.append(self.look())
            time.sleep(0.05)
        products: Any = [look.product_ms for look in looks]
        copies: Any = [look.copy_ms for look in looks]
        return Reference(float(np.percentile(products, _BEST_PERCENTILE)), float(np.percentile(copies, _BEST_PERCENTILE)))

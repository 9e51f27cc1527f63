"""A cache bounded by the memory it takes, least recently used first: what tenants send must not fill the process, however many or large they make it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much memory what is remembered may take. Estimates: within a factor of two of what the process holds."""

    graphs_bytes: int = 64 << 20
    """Analysed graphs: some 170 kB for a network of a hundred kernels, so four hundred of those."""
    isolations_bytes: int = 48 << 20
    """Service times of graphs on slices: some kilobytes each."""
    answers_bytes: int = 64 << 20
    """Answers: about a kilobyte each."""

    def __post_init__(self) -> None:
        if min(self.graphs_bytes, self.isolations_bytes, self.answers_bytes) < 1 << 20:
            raise ValueError("caches: each kind needs at least 1048576 bytes")


class LruCache(Generic[K, V]):
    """Values by key, as many as fit. Thread-safe."""

    def __init__(self, max_bytes: int, size_of: Callable[[K, V], int]) -> None:
        """Makes an empty cache.

        Args:
            max_bytes: of all entries together.
            size_of: estimate of what an entry takes, key and value.
        """
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """What was put under that key, and it becomes the most recently used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: V) -> bool:
        """Remembers a value; the least recently used ones may go. False where it is larger than the whole cache, and not remembered."""
        size = self._size_of(key, value)
        with self._lock:
            old = self._entries.pop(key, None)
            self._bytes -= old[1] if old is not None else 0
            if size > self._max_bytes:
                return False
            self._entries[key] = (value, size)
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, gone) = self._entries.popitem(last=False)
                self._bytes -= gone
            return True

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    @property
    def bytes(self) -> int:
        """Estimate of what all entries take."""
        with self._lock:
            return self._bytes

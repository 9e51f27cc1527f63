"""Sizes: names objects that are larger than usual while they pass by.

An API server takes objects up to about 1.5 MB (etcd's `--max-request-bytes`), and sends each whenever it changes, whole, in one line of a watch: one such
object costs every client as much as a thousand usual ones. They are read like any other; whoever looks for the cause of a slow process finds them named.
"""

import logging
import time
from collections.abc import Callable

import msgspec
from prometheus_client import Counter

from stowplan_fleet import logs
from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.objects import ObjectHead

_log = logging.getLogger(__name__)


class LargeObjects:
    """Counts them all, and writes a line for some: at most ten a minute."""

    def __init__(self, bytes_min: int, counter: Counter, clock: Callable[[], float] = time.monotonic) -> None:
        """`bytes_min`: what counts as large, in bytes of JSON; `counter` has the label `resource`; `clock` counts monotonic seconds."""
        self.bytes_min = bytes_min
        self._counter = counter
        self._seldom = logs.Seldom(clock=clock)

    def see(self, resource: str, item: bytes | msgspec.Raw) -> None:
        """One that was seen; tells it where it is large. `resource` is the collection's name, such as `pods`."""
        if len(item) < self.bytes_min:
            return
        self._counter.labels(resource).inc()
        if not self._seldom.due():
            return
        try:
            head = decoding.from_json(item, ObjectHead)
        except ManifestRefused:
            head = ObjectHead()
        about = logs.about(head.kind or resource, head.metadata.namespace, head.metadata.name, head.metadata.uid)
        _log.info("a large object", extra={**about, "bytes": len(item), "not_told": self._seldom.left_out()})

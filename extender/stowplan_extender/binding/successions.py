"""Successions: what the Lease tells of schedulers. One was started anew, another one took over, or nobody renews it any more.

A scheduler that dies says nothing, and an extender cannot see it: its connections come and go either way. But client-go gives each process an identity of its
own (`<hostname>_<uuid>`), so the next one beside the same pod's extender is seen to be another; and one that is dead, hangs or is cut off does not renew.
"""

import logging
from typing import Final

from stowplan_fleet.manifests.decoding import Manifest

from stowplan_extender.metrics import Metrics

_log = logging.getLogger(__name__)
# Of a Lease that does not say how long it lasts: client-go's default.
_DURATION_S: Final = 15


class LeaseSpec(Manifest, frozen=True):
    """The part of a Lease that is read."""

    holder_identity: str | None = None
    lease_transitions: int = 0
    """How often it went from one holder to another (client-go counts)."""
    lease_duration_seconds: int = _DURATION_S
    """Of seconds without a renewal, after which anybody may take it."""
    renew_time: str = ""
    """When its holder last renewed it, by its own clock: only ever compared with what stood there before."""


def pod_of(holder: str) -> str:
    """The pod of an identity: a pod's hostname is its name (cmd/kube-scheduler/app/options)."""
    return holder.rpartition("_")[0]


class Succession:
    """Remembers the last holder, and when it last renewed."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._holder = ""
        self._renewed = ""
        self._renewed_at_s: float | None = None
        self._silent = False

    def note(self, spec: LeaseSpec, now_s: float) -> None:
        """A look at the Lease; `now_s` on a steady clock."""
        holder = spec.holder_identity or ""
        if self._holder and holder and holder != self._holder:
            change = "restarted" if pod_of(holder) == pod_of(self._holder) else "taken over"
            self._metrics.scheduler_changes.labels(change).inc()
            said = "the scheduler that leads was started anew" if change == "restarted" else "another pod's scheduler leads now"
            _log.warning(said, extra={"before": self._holder, "now": holder})
        self._holder = holder or self._holder
        if self._renewed_at_s is None or spec.renew_time != self._renewed:
            self._renewed, self._renewed_at_s = spec.renew_time, now_s
            if self._silent:
                self._silent = False
                _log.info("the scheduler's Lease is renewed again", extra={"holder": holder})
        unrenewed_s = now_s - self._renewed_at_s if spec.renew_time else 0.0
        self._metrics.lease_unrenewed_seconds.set(unrenewed_s)
        if unrenewed_s > spec.lease_duration_seconds and not self._silent:
            self._silent = True
            extra = {"holder": holder or "nobody", "seconds": round(unrenewed_s, 1)}
            _log.warning("nobody renews the scheduler's Lease: its holder is dead, hangs, or is cut off from the API server", extra=extra)

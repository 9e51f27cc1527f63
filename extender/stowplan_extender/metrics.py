"""Metrics of the extender, in a registry of their own (never the global one)."""

from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from stowplan_fleet.expiries import Expiries

# From a warm filter over a hundred nodes (well under 1 ms) to the scheduler's own default timeout (5 s); the defaults of the library start
# at 5 ms and would show nothing.
_BUCKETS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Everything the extender counts. Labels are bounded: verbs, outcomes, kinds of reason, kinds of resource."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # `process_start_time_seconds` among others: by it a process that was killed or restarted is seen.
        ProcessCollector(registry=self.registry)
        histogram = partial(Histogram, namespace="stowplan", subsystem="extender", buckets=_BUCKETS, registry=self.registry)
        counter = partial(Counter, namespace="stowplan", subsystem="extender", registry=self.registry)
        gauge = partial(Gauge, namespace="stowplan", subsystem="extender", registry=self.registry)
        self.request_seconds = histogram("request_seconds", "Time to answer the scheduler.", ["verb", "outcome"])
        self.nodes_judged = counter("nodes_judged", "Nodes judged by filters, by kind of verdict.", ["verdict"])
        self.bindings = counter("bindings", "Bindings, by how they ended.", ["outcome"])
        self.bindings_under_way = gauge("bindings_under_way", "Bindings that have begun and not ended; where there are many, filters wait for them.")
        self.wake_ups = counter("wake_ups", "Pods woken because a node would take them now, by outcome.", ["outcome"])
        self.predictor_seconds = histogram("predictor_rpc_seconds", "Time the predictor takes.", ["outcome"])
        self.late_answers = counter("late_answers", "Answers of the predictor that came when nobody waited for them any more; they are remembered.")
        self.predictor_up = gauge("predictor_up", "Whether the predictor answered last time it was asked.")
        self.bundle_changes = counter("bundle_changes", "Times that another bundle began to answer; what the former one said is forgotten.")
        self.degraded = counter("degraded_answers", "Questions nobody answered, by what was used in place.", ["used"])
        self.view_objects = gauge("view_objects", "Objects in the cluster view.", ["kind"])
        self.view_staleness_seconds = gauge("view_staleness_seconds", "Time since a watch was last in touch; 0 while it is.", ["resource"])
        self.view_synced = gauge("view_synced", "Whether a resource was listed at all.", ["resource"])
        self.view_lists = counter("view_lists", "Lists and relists.", ["resource", "cause"])
        self.watches_broken = counter("watches_broken", "Lists and watches that failed, by collection.", ["resource"])
        self.view_events = counter("view_events", "Watch events.", ["resource", "type"])
        self.refusals = counter("refusals", "Requests of the scheduler that could not be answered, by what was missing.", ["verb", "cause"])
        self.leading = gauge("leading", "Whether the scheduler's Lease names our pod; 1 where there is no leader election.")
        self.scheduler_changes = counter(
            "scheduler_changes",
            "Times that the scheduler's Lease went to another scheduler: of the same pod (restarted), or of another one (taken over).",
            ["change"],
        )
        for change in ("restarted", "taken over"):
            self.scheduler_changes.labels(change)
        self.lease_unrenewed_seconds = gauge(
            "lease_unrenewed_seconds", "Time since the scheduler's Lease was last seen renewed; a scheduler that lives renews it every few seconds."
        )
        self.doubtful_bindings = counter(
            "doubtful_bindings", "Bindings that the API server failed at or did not answer, by what the pod itself said then.", ["found"]
        )
        self.overdue_promises = counter("overdue_promises", "Promises that no watch confirmed in time, by what the API server said of the pod.", ["found"])
        self.devices_contested = gauge("devices_contested", "Devices that several ConfigMaps describe differently; the first one by name counts.")
        self.clock_jumps = counter("clock_jumps", "Jumps of the wall clock by more than five seconds.")
        self.stranded_pods = counter(
            "stranded_pods", "Servers of ours whose node was removed, or is no longer of the device they were placed on, by what happened.", ["cause"]
        )
        self.records = counter("records", "Decisions to be recorded, by outcome.", ["outcome"])
        self.large_objects = counter("large_objects", "Objects of api.large_object_bytes or more, on lists and watches.", ["resource"])
        self.objects_refused = counter("objects_refused", "Objects that could not be read.", ["resource"])
        self.certificates = Expiries("extender", self.registry)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)

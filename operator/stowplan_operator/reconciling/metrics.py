"""Metrics of the operator, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from stowplan_fleet.expiries import Expiries

from stowplan_operator.reconciling.gauges import ClusterGauges


class Metrics:
    """What the operator counts. Labels are bounded: outcomes and kinds; of `gauges` alone also names of services."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # `process_start_time_seconds` among others: by it a process that was killed or restarted is seen.
        ProcessCollector(registry=self.registry)
        self.cluster = ClusterGauges()
        self.registry.register(self.cluster)
        self.certificates = Expiries("operator", self.registry)
        self.reconciliations = Counter("stowplan_operator_reconciliations", "Looks at a service, by outcome.", ["outcome"], registry=self.registry)
        self.reconcile_seconds = Histogram(
            "stowplan_operator_reconcile_seconds",
            "Duration of a look at a service.",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.writes = Counter("stowplan_operator_writes", "Writes to the API server, by kind.", ["kind"], registry=self.registry)
        self.reverts = Counter("stowplan_operator_reverts", "Deployments of ours put right after somebody else had changed them.", registry=self.registry)
        self.clock_jumps = Counter("stowplan_operator_clock_jumps", "Jumps of the wall clock by more than five seconds.", registry=self.registry)
        self.missed_deletes = Counter(
            "stowplan_operator_missed_deletes", "Objects dropped because they are gone and no watch told it, by kind.", ["kind"], registry=self.registry
        )
        self.api_failures = Counter(
            "stowplan_operator_api_failures", "Requests to the API server that were not answered as wished, by status.", ["status"], registry=self.registry
        )
        self.watch_troubles = Counter(
            "stowplan_operator_watch_troubles", "Warnings and errors of the library that lists and watches, by level.", ["level"], registry=self.registry
        )
        self.watches_broken = Counter(
            "stowplan_operator_watches_broken",
            "Watches that were over before the API server ended them: torn in a line, lost between two, or silent.",
            ["resource", "how"],
            registry=self.registry,
        )
        self.large_objects = Counter(
            "stowplan_operator_large_objects", "Objects of api.large_object_bytes or more that watches showed.", ["resource"], registry=self.registry
        )
        self.shifts_broken = Counter("stowplan_operator_shifts_broken", "Times that the watches could not go on and were started anew.", registry=self.registry)
        self.definition_served = Gauge(
            "stowplan_operator_definition_served",
            "Whether the API server has the API of InferenceServices; 0 where its definition is gone.",
            registry=self.registry,
        )
        self.moves = Counter("stowplan_operator_moves", "Moves between rungs, by kind.", ["move"], registry=self.registry)
        self.waiting = Gauge("stowplan_operator_queue_length", "Services that wait to be looked at.", registry=self.registry)
        self.services = Gauge("stowplan_operator_services", "Services seen.", registry=self.registry)
        self.predictor_seconds = Histogram(
            "stowplan_operator_predictor_rpc_seconds",
            "Time that predictions take, by outcome.",
            ["outcome"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.predictor_failures = Counter("stowplan_operator_predictor_failures", "Calls that the predictor did not answer.", registry=self.registry)

"""Metrics of the predictor, in a registry of their own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from stowplan_fleet.expiries import Expiries

# Boundaries on what callers promise: the extender gives a call 1 s (half of the scheduler's 2 s), a warm one is to take a few milliseconds,
# an analysis may take tens of seconds.
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Measures:
    """What the predictor tells Prometheus. Labels are bounded: methods, status codes, bases, caches."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rpc_seconds = Histogram(
            "stowplan_predictor_rpc_seconds", "Time to answer a call, by outcome.", ["method", "code"], buckets=_BUCKETS, registry=self.registry
        )
        self.rpcs_in_progress = Gauge("stowplan_predictor_rpcs_in_progress", "Calls under way or waiting.", ["method"], registry=self.registry)
        self.answers = Counter("stowplan_predictor_answers", "Answers given, by what they rest on.", ["basis", "unknown_reason"], registry=self.registry)
        self.bundle_info = Gauge("stowplan_predictor_bundle_info", "Bundles that answer; always 1.", ["runtime", "name", "version"], registry=self.registry)
        self.serving = Gauge("stowplan_predictor_serving", "Whether calls are answered: bundles loaded and warm, not ending.", registry=self.registry)
        self.certificates = Expiries("predictor", self.registry)

    def watch(self, name: str, description: str, labels: tuple[str, ...], read: Callable[[], Mapping[tuple[str, ...], int]]) -> None:
        """Adds a gauge whose values, by its labels' values, are read at each scrape."""
        self.registry.register(_Watched(f"stowplan_predictor_{name}", description, labels, read))


class _Watched(Collector):
    def __init__(self, name: str, description: str, labels: tuple[str, ...], read: Callable[[], Mapping[tuple[str, ...], int]]) -> None:
        self._name, self._description, self._labels, self._read = name, description, labels, read

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._description, labels=self._labels)
        for values, count in sorted(self._read().items()):
            family.add_metric(values, count)
        yield family

    def describe(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(self._name, self._description, labels=self._labels)

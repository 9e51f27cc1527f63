"""Expiries: what a process tells Prometheus about the certificates it uses."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stowplan_fleet.certificates import Certificates


class Expiries(Collector):
    """Implements `certificates.Watcher`. Without TLS nothing is told, for there is nothing that could end."""

    def __init__(self, component: str, registry: CollectorRegistry) -> None:
        self._component = component
        self._current: Certificates | None = None
        self._failures = Counter(
            f"stowplan_{component}_certificate_reload_failures",
            "Looks at files of certificates that cannot be used; those read before stay in use.",
            registry=registry,
        )
        registry.register(self)

    def read(self, certificates: Certificates) -> None:
        """These are in use from now on."""
        self._current = certificates

    def refused(self) -> None:
        """What the files hold cannot be used."""
        self._failures.inc()

    def collect(self) -> Iterable[Metric]:
        """When each ends, in seconds of the Unix clock, and how long it was made to last."""
        prefix, which = f"stowplan_{self._component}_certificate", "our own, or the last of the authorities we trust."
        ends = GaugeMetricFamily(f"{prefix}_expiration_timestamp_seconds", f"When a certificate in use ends to be valid: {which}", labels=["certificate"])
        lifetime = GaugeMetricFamily(f"{prefix}_lifetime_seconds", f"How long it is valid from its beginning to its end: {which}", labels=["certificate"])
        if self._current is not None:
            for name, validity in (("own", self._current.own), ("authority", self._current.trusted)):
                if validity is not None:
                    ends.add_metric([name], validity.ends.timestamp())
                    lifetime.add_metric([name], (validity.ends - validity.begins).total_seconds())
        yield ends
        yield lifetime

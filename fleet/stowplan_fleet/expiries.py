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
        """When each ends, in seconds of the Unix clock."""
        family = GaugeMetricFamily(
            f"stowplan_{self._component}_certificate_expiration_timestamp_seconds",
            "When a certificate in use ends to be valid: our own, or the last of the authorities we trust.",
            labels=["certificate"],
        )
        if self._current is not None:
            for name, ends in (("own", self._current.ends), ("authority", self._current.authorities_end)):
                if ends is not None:
                    family.add_metric([name], ends.timestamp())
        yield family

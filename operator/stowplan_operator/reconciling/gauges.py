"""Gauges of services and of the cluster's slices, read from the views when Prometheus asks: what dashboards and alerts compare with what servers tell.

Labels name services, namespaces and slice classes, but no pods and no nodes: as many series as there are services and kinds of slices.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from stowplan_fleet import keys
from stowplan_fleet.errors import ValueRefused
from stowplan_fleet.manifests import nodes, pods
from stowplan_fleet.slices import SliceKind

from stowplan_operator.reconciling.views import Views

_MS: Final = 1e-3
# Conditions that a person watches; the others stay unknown while nothing observes latency.
_CONDITIONS: Final = ("Ready", "Placeable", "Scheduled")


class ClusterGauges(Collector):
    """Tells what the views show; nothing before they are set."""

    def __init__(self) -> None:
        self.views: Views | None = None

    def describe(self) -> Iterable[Metric]:
        """The families, empty."""
        return [*_Services().families, *_Slices().families]

    def collect(self) -> Iterable[Metric]:
        """The families as the views are now."""
        services, slices = _Services(), _Slices()
        if self.views is not None:
            for name in self.views.services():
                body = self.views.service(name)
                if body is not None:
                    namespace, _, service = name.partition("/")
                    services.add(namespace, service, body)
            slices.add(self.views)
        return [*services.families, *slices.families]


class _Services:
    def __init__(self) -> None:
        who = ["namespace", "service"]
        self.objective = GaugeMetricFamily("stowplan_service_objective_seconds", "Response time promised.", labels=[*who, "percentile"])
        self.predicted = GaugeMetricFamily(
            "stowplan_service_predicted_seconds",
            "Upper end of the predicted percentile of the response time on the present rung.",
            labels=[*who, "slice_class"],
        )
        self.replicas = GaugeMetricFamily("stowplan_service_replicas", "Replicas of the present rung.", labels=[*who, "slice_class"])
        self.condition = GaugeMetricFamily(
            "stowplan_service_condition", "Conditions; 1 for the status that holds.", labels=[*who, "condition", "status", "reason"]
        )

    @property
    def families(self) -> list[GaugeMetricFamily]:
        return [self.objective, self.predicted, self.replicas, self.condition]

    def add(self, namespace: str, service: str, body: Mapping[str, Any]) -> None:
        spec, status = _mapping(body.get("spec")), _mapping(body.get("status"))
        slo = _mapping(spec.get("slo"))
        _put(self.objective, [namespace, service, str(slo.get("percentile", 95))], slo.get("latencyMilliseconds"), _MS)
        rung = [namespace, service, str(status.get("sliceClass", ""))]
        _put(self.predicted, rung, status.get("predictedMilliseconds"), _MS)
        _put(self.replicas, rung, status.get("replicas"))
        for condition in status.get("conditions") or ():
            if condition.get("type") in _CONDITIONS:
                self.condition.add_metric([namespace, service, *(str(condition.get(key, "")) for key in ("type", "status", "reason"))], 1)


class _Slices:
    def __init__(self) -> None:
        self.cores = GaugeMetricFamily("stowplan_cluster_cores", "Allocatable cores of ready nodes, by device.", labels=["device"])
        self.cores_used = GaugeMetricFamily("stowplan_cluster_cores_used", "Cores that servers of ours have, by device.", labels=["device"])
        self.slices = GaugeMetricFamily("stowplan_cluster_slices", "Slices of GPUs that ready nodes offer.", labels=["slice_class"])
        self.slices_used = GaugeMetricFamily("stowplan_cluster_slices_used", "Slices of GPUs that servers of ours have.", labels=["slice_class"])

    @property
    def families(self) -> list[GaugeMetricFamily]:
        return [self.cores, self.cores_used, self.slices, self.slices_used]

    def add(self, views: Views) -> None:
        cores, slices = Counter[str](), Counter[str]()
        for node in filter(nodes.is_ready, views.nodes()):
            found = nodes.inventory_of(node)
            if found.cpu_device is not None:
                cores[found.cpu_device] += found.cpu_millicores
            slices.update({str(offer.slice_class): offer.count for offer in found.offers if offer.slice_class.slice.kind is not SliceKind.CPU})
        cores_used, slices_used = Counter[str](dict.fromkeys(cores, 0)), Counter[str](dict.fromkeys(slices, 0))
        for name in views.services():
            for pod in views.pods(name):
                if not pod.spec.node_name or pods.is_finished(pod) or keys.SLICE_CLASS_ANNOTATION not in pod.metadata.annotations:
                    continue
                try:
                    slice_class = pods.slice_class_of(pod)
                except ValueRefused:
                    continue
                if slice_class is not None and slice_class.slice.kind is SliceKind.CPU:
                    cores_used[slice_class.device] += slice_class.slice.cpu_millicores
                elif slice_class is not None:
                    slices_used[str(slice_class)] += 1
        for family, amounts, unit in (
            (self.cores, cores, _MS),
            (self.cores_used, cores_used, _MS),
            (self.slices, slices, 1),
            (self.slices_used, slices_used, 1),
        ):
            for label, amount in sorted(amounts.items()):
                family.add_metric([label], amount * unit)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _put(family: GaugeMetricFamily, labels: list[str], value: object, unit: float = 1) -> None:
    if isinstance(value, int | float):
        family.add_metric(labels, value * unit)

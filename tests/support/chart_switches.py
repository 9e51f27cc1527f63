"""Values of the chart that tests install it with: every switch thrown, every value set to something else than its default somewhere."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

SWITCHES: Sequence[tuple[str, ...]] = [
    (),
    ("scheduler.replicas=1", "scheduler.extender.recording.decisions=500", "scheduler.extender.recording.bytes=1048576"),
    ("crds.enabled=false", "rbac.aggregate=false"),
    ("rbac.create=false",),
    (
        "operator.models.httpsHosts[0]=models.example.com:8443",
        "operator.models.s3Buckets[0]=models",
        "operator.models.gsBuckets[0]=models",
        "operator.models.s3Endpoint=https://s3.example.com",
        "operator.serviceAccountAnnotations.role=arn",
    ),
    ("networkPolicy.enabled=false", "podDisruptionBudget.enabled=false", "flowSchema.enabled=false"),
    ("descriptorsNamespace=kube-public", "images.pullSecrets[0].name=registry", "logLevel=debug"),
    ("logLevel=warning", "images.pullPolicy=Always"),
    ("logLevel=error", "images.pullPolicy=Never"),
    *((f"images.{name}.repository=registry.example.com/{name}", f"images.{name}.tag=v9") for name in ("predictor", "operator", "extender", "scheduler")),
    (
        "networkPolicy.apiServer.cidrs[0]=10.0.0.1/32",
        "networkPolicy.apiServer.ports[0]=8443",
        "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring",
        "networkPolicy.dnsNamespace.team=dns",
    ),
    *(
        (
            f"{name}.nodeSelector.disk=fast",
            f"{name}.tolerations[0].operator=Exists",
            f"{name}.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=1",
            f"{name}.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key=disk",
            f"{name}.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].operator=Exists",
            f"{name}.priorityClassName=ours",
            f"{name}.resources.requests.cpu=2",
            f"{name}.resources.limits.memory=3Gi",
        )
        for name in ("predictor", "operator", "scheduler")
    ),
    ("scheduler.extender.resources.requests.cpu=2", "scheduler.extender.resources.limits.memory=3Gi"),
    *(
        tuple(f"{name}.topologySpreadConstraints[0].{said}" for said in ("topologyKey=rack", "maxSkew=1", "whenUnsatisfiable=DoNotSchedule"))
        for name in ("predictor", "scheduler")
    ),
    (
        "monitoring.serviceMonitor.enabled=true",
        "monitoring.serviceMonitor.interval=15s",
        "monitoring.serviceMonitor.labels.release=prom",
        "monitoring.alerts.enabled=true",
        "monitoring.alerts.labels.release=prom",
        "monitoring.runbooks=https://runbooks.example.com/stowplan",
    ),
    (
        "monitoring.dashboards.enabled=true",
        "monitoring.dashboards.labels.release=grafana",
        "monitoring.dashboards.annotations.team=ours",
        "monitoring.recordings.enabled=true",
        "monitoring.recordings.labels.release=prom",
    ),
    ("predictor.replicas=3",),
    ("tls.enabled=false", "networkPolicy.enabled=false"),
    ("tls.generated.days=90", "predictor.replicas=2"),
    ("tls.certManager.enabled=true",),
    (
        "tls.certManager.enabled=true",
        "tls.certManager.issuerRef.name=company",
        "tls.certManager.issuerRef.kind=ClusterIssuer",
        "tls.certManager.issuerRef.group=issuers.example.com",
        "tls.certManager.duration=168h",
    ),
    ("tls.existingSecrets.predictor=ours", "tls.existingSecrets.operator=theirs", "tls.existingSecrets.scheduler=theirs"),
    ("operator.prices.epyc-9b14/cpu:1=0.05", "operator.prices.NVIDIA-A100-SXM4-80GB=1000000"),
]


def effective(values: Mapping[str, Any], switches: Sequence[str]) -> dict[str, Any]:
    """What templates see: the defaults with those switches over them, as `helm --set` lays them."""
    found: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(values)))
    for switch in switches:
        path, _, text = switch.partition("=")
        *parts, last = _parts(path)
        node: Any = found
        for part in parts:
            if not isinstance(node.get(part), dict):
                node[part] = {}
            node = node[part]
        node[last] = yaml.safe_load(text) if text else ""
    return found


def _parts(path: str) -> list[str]:
    """Of lists only the first element is ever set: an own key `[0]`, which is enough to be seen as another value."""
    parts: list[str] = []
    for part in path.split("."):
        name, bracket, _ = part.partition("[")
        # What follows a list's element belongs to the list's value.
        parts.append(name)
        if bracket:
            parts.append("[0]")
    return parts


def at(values: Mapping[str, Any], path: str) -> Any:
    """A value by its path."""
    node: Any = values
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def leaves(values: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], path: str = "") -> Iterator[str]:
    """Paths of the values that have no further ones below by the schema: maps of the user's own keys are one value."""
    for name, value in values.items():
        here = f"{path}.{name}".removeprefix(".")
        if isinstance(value, Mapping) and known.get(here, {}).get("properties"):
            yield from leaves(value, known, here)
        else:
            yield here

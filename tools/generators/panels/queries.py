"""What panels ask, in PromQL: selectors of the variables, rates and quantiles over Grafana's own interval."""

from typing import Final

OF: Final = '{namespace=~"$namespace", service=~"$service"}'
WHERE: Final = 'namespace=~"$namespace", service=~"$service"'
HERE: Final = 'namespace=~"$namespace"'
OBJECTIVE: Final = f"max by (namespace, service) (stowplan_service_objective_seconds{OF})"
PREDICTED: Final = f"max by (namespace, service) (stowplan_service_predicted_seconds{OF})"
OBSERVED: Final = f"stowplan:service_observed_p95_seconds{OF}"


def rate(metric: str, labels: str = "") -> str:
    """The rate of a counter in the chosen namespaces; `labels`: further selectors."""
    return f"rate({metric}{{{HERE}{', ' + labels if labels else ''}}}[$__rate_interval])"


def quantile(share: float, metric: str, by: str, labels: str = "") -> str:
    """That share of a histogram's observations, for each value of the label `by`."""
    return f"histogram_quantile({share}, sum by (le, {by}) ({rate(metric + '_bucket', labels)}))"

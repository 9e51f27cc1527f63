"""What the end-to-end tests run is what the chart ships."""

from pathlib import Path

import controlplane_parts as parts
import pytest
import yaml
from controlplane_clusters import Cluster
from support import components

pytestmark = pytest.mark.controlplane


def test_the_scheduler_under_test_has_the_configuration_of_the_chart(apiserver: Cluster) -> None:
    """The chart's KubeSchedulerConfiguration differs from the one these tests use only in addresses, credentials and leader election."""
    (config_map,) = (item for item in components.release(apiserver) if item["kind"] == "ConfigMap" and "scheduler.yaml" in item.get("data", {}))
    shipped = yaml.safe_load(config_map["data"]["scheduler.yaml"])
    tested = parts.scheduler_configuration("stowplan", Path("kubeconfig"), shipped["extenders"][0]["urlPrefix"])

    for configuration in (shipped, tested):
        configuration.pop("clientConnection", None)
        configuration.pop("leaderElection")
    assert shipped == tested

"""The InferenceService API in a running API server."""

import json
from pathlib import Path

from controlplane_clusters import Cluster
from support.controlplane import wait_until

CRD = Path(__file__).resolve().parents[2] / "charts" / "stowplan" / "files" / "inferenceservices.yaml"


def serve(cluster: Cluster) -> None:
    """Applies the definition and waits until it is served; not with `kubectl wait`, which fails while the status has no conditions yet."""
    cluster.kubectl("apply", "-f", str(CRD))
    wait_until(lambda: _is_established(cluster), 0, "the API is not established")


def _is_established(cluster: Cluster) -> bool:
    status = json.loads(cluster.kubectl("get", f"--filename={CRD}", "-o", "json")).get("status", {})
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in status.get("conditions") or ())

"""The InferenceService API in a running API server."""

from pathlib import Path

from controlplane_clusters import Cluster
from support.controlplane import wait_until

CRD = Path(__file__).resolve().parents[2] / "charts" / "stowplan" / "files" / "inferenceservices.yaml"
_ESTABLISHED = 'jsonpath={.status.conditions[?(@.type=="Established")].status}'


def serve(cluster: Cluster) -> None:
    """Applies the definition and waits until it is served; not with `kubectl wait`, which fails while the status has no conditions yet."""
    cluster.kubectl("apply", "-f", str(CRD))
    wait_until(lambda: cluster.kubectl("get", f"--filename={CRD}", "-o", _ESTABLISHED) == "True", 20, "the API is not established")

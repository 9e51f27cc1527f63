"""APIs in a running API server: InferenceServices, and those of others that the chart makes objects of."""

import json
from pathlib import Path

from controlplane_clusters import Cluster
from support.controlplane import wait_until

CRD = Path(__file__).resolve().parents[2] / "charts" / "stowplan" / "files" / "inferenceservices.yaml"


def serve(cluster: Cluster, definition: Path = CRD) -> None:
    """Applies a definition and waits until it is served; not with `kubectl wait`, which fails while the status has no conditions yet."""
    # By the server: an annotation with the whole object, as the client would make one, has no room for a large one.
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(definition))
    wait_until(lambda: _is_established(cluster, definition), 0, f"the API of {definition.name} is not established")


def _is_established(cluster: Cluster, definition: Path) -> bool:
    status = json.loads(cluster.kubectl("get", f"--filename={definition}", "-o", "json")).get("status", {})
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in status.get("conditions") or ())

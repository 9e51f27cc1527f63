"""What must hold in a cluster after every end-to-end test, read from the API server alone, whatever the components believe: `kubectl stowplan audit`."""

import asyncio
import functools
from typing import Any

from controlplane_clusters import Cluster
from stowplan_cli.inputs import questions
from stowplan_cli.placements import auditing
from stowplan_fleet import keys
from stowplan_fleet.predictors import Predictor
from stowplan_predictor.pipelines import Pipeline
from stowplan_predictor.serving.local import LocalPredictor

_KINDS = {"Node": "nodes", "Pod": "pods", keys.KIND: f"{keys.PLURAL}.{keys.GROUP}", "ConfigMap": "configmaps"}


def audit(cluster: Cluster) -> list[str]:
    """Every broken promise in words, by the shipped bundle where a prediction is needed; none is good."""
    items = objects_of(cluster)
    predicted, _ = asyncio.run(auditing.predicted(items, _shipped()))
    return [str(finding) for finding in (*auditing.structural(items), *predicted) if finding.broken]


def objects_of(cluster: Cluster) -> list[dict[str, Any]]:
    """Everything that an audit reads."""
    return [{**item, "kind": kind} for kind, name in _KINDS.items() for item in _get(cluster, name)]


def _get(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get(name, "-A", "--show-managed-fields")["items"]
    return found


@functools.cache
def _shipped() -> Predictor:
    return LocalPredictor(Pipeline(questions.opened_bundle(None, questions.RUNTIME)))

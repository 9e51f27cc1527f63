"""Eligibility: which nodes may take the pods of a template at all, by what the template itself says.

Only node selectors, taints and tolerations are read, by the scheduler's rules; affinities are not. A rung that these would forbid is found out when its
pods find no place, and the service climbs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stowplan_fleet.manifests import nodes
from stowplan_fleet.manifests.nodes import NodeManifest, Taint

# A taint that only asks (`PreferNoSchedule`) keeps nobody off.
_CLOSING: Final = frozenset({"NoSchedule", "NoExecute"})


def eligible(found: Sequence[NodeManifest], template: Mapping[str, Any]) -> tuple[NodeManifest, ...]:
    """The nodes that are ready, not cordoned, selected and tolerated by a checked template (`workloads.checks`)."""
    spec = template.get("spec") or {}
    selector = spec.get("nodeSelector") or {}
    tolerations = spec.get("tolerations") or []
    return tuple(
        node
        for node in found
        if nodes.is_ready(node)
        and not node.spec.unschedulable
        and all(node.metadata.labels.get(key) == value for key, value in selector.items())
        and all(taint.effect not in _CLOSING or any(_tolerates(item, taint) for item in tolerations) for taint in node.spec.taints)
    )


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    # k8s.io/component-helpers/scheduling/corev1, helpers.go and api/core/v1/toleration.go: empty effect or key match all.
    if toleration.get("effect") not in {None, "", taint.effect}:
        return False
    key = toleration.get("key") or ""
    if key and key != taint.key:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(key) and (toleration.get("value") or "") == taint.value

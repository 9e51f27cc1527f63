"""Deployments: what is applied for a service, and what is read back."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stowplan_fleet import keys

from stowplan_operator.sizing.rungs import Rung
from stowplan_operator.workloads import templates

FIELD_MANAGER: Final = "stowplan-operator"
# What `kubectl rollout restart` writes into the pod template.
RESTARTED_AT_ANNOTATION: Final = "kubectl.kubernetes.io/restartedAt"


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """The part of a Deployment that is read."""

    uid: str
    owner_uid: str
    """Of its controller; empty where it has none."""
    generation: int
    observed_generation: int
    replicas: int
    """Asked for."""
    total: int
    """That there are, of any template."""
    updated: int
    """Pods of the present template."""
    available: int
    """That serve, of any template."""
    template_digest: str
    """Of the pod template that we applied last; empty where we did not."""
    foreign_manager: str
    """Who changed the spec last, where it was not us; as the API server's managed fields name them, empty where nobody did."""
    shared: bool = False
    """True where others own parts of the spec: what they added stays when we apply ours."""
    refusal: str = ""
    """Why its controller cannot make pods (a quota, a policy, a missing service account), in the API server's words; empty where it can."""
    restarted_at: str = ""
    """When its pods were last restarted by `kubectl rollout restart`, as kubectl wrote it; empty where they never were."""


def template_for(service: Mapping[str, Any], rung: Rung, restarted_at: str = "") -> dict[str, Any]:
    """The pod template of a service on a rung.

    Args:
        service: the InferenceService as the API server gave it.
        rung: where it shall run.
        restarted_at: what `kubectl rollout restart` left in the Deployment: people restart pods that way, and taking it back would restart them once more.
    """
    template = templates.on_rung(service["spec"]["template"], service["metadata"]["name"], rung)
    if restarted_at:
        template["metadata"]["annotations"].setdefault(RESTARTED_AT_ANNOTATION, restarted_at)
    return template


def manifest_for(service: Mapping[str, Any], template: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """The Deployment of a service, for server-side apply.

    Args:
        service: the InferenceService as the API server gave it.
        template: of its pods.
        replicas: to ask for.
    """
    name, namespace, uid = (service["metadata"][key] for key in ("name", "namespace", "uid"))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {keys.SERVICE_LABEL: name, "app.kubernetes.io/managed-by": "stowplan"},
            "annotations": {keys.TEMPLATE_DIGEST_ANNOTATION: fingerprint(template)},
            "ownerReferences": [
                {
                    "apiVersion": f"{keys.GROUP}/{keys.VERSION}",
                    "kind": keys.KIND,
                    "name": name,
                    "uid": uid,
                    "controller": True,
                    # A child that delays its owner's deletion would need the right to set finalizers.
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {keys.SERVICE_LABEL: name}},
            # A running server stays until its successor serves: a place is given only where both keep the objective.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
        },
    }


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Equal for equal manifests."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def state_of(body: Mapping[str, Any]) -> DeploymentState:
    """Reads a Deployment as the API server gave it."""
    metadata, status = body.get("metadata") or {}, body.get("status") or {}
    entries = _owners_of_spec(metadata)
    owners = [str(owner.get("uid", "")) for owner in metadata.get("ownerReferences") or [] if owner.get("controller")]
    pods = ((body.get("spec") or {}).get("template") or {}).get("metadata") or {}
    return DeploymentState(
        uid=str(metadata.get("uid", "")),
        owner_uid=owners[0] if owners else "",
        generation=int(metadata.get("generation") or 0),
        observed_generation=int(status.get("observedGeneration") or 0),
        replicas=int((body.get("spec") or {}).get("replicas") or 0),
        total=int(status.get("replicas") or 0),
        updated=int(status.get("updatedReplicas") or 0),
        available=int(status.get("availableReplicas") or 0),
        template_digest=str((metadata.get("annotations") or {}).get(keys.TEMPLATE_DIGEST_ANNOTATION, "")),
        foreign_manager=_foreign_manager(entries),
        shared=any(entry.get("manager") != FIELD_MANAGER for entry in entries),
        refusal=next((str(item.get("message", "")) for item in status.get("conditions") or [] if _is_refusal(item)), ""),
        restarted_at=str((pods.get("annotations") or {}).get(RESTARTED_AT_ANNOTATION, "")),
    )


def _is_refusal(condition: Mapping[str, Any]) -> bool:
    return condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"


def _owners_of_spec(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Entries of managed fields that own some of the spec, those of the scale subresource too."""
    return [entry for entry in metadata.get("managedFields") or [] if entry.get("subresource") != "status" and "f:spec" in (entry.get("fieldsV1") or {})]


def _foreign_manager(entries: Sequence[Mapping[str, Any]]) -> str:
    latest: Mapping[str, Any] = max(entries, key=lambda entry: (str(entry.get("time", "")), entry.get("manager") != FIELD_MANAGER), default={})
    manager = str(latest.get("manager", ""))
    return "" if manager == FIELD_MANAGER else manager[:64]

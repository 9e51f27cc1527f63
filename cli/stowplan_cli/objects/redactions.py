"""Redactions: what of a cluster's objects goes into a snapshot. What is kept is listed, not what goes: nobody knows all the places where people put secrets.

Kept is what a decision, an audit or the reader of a bug report needs. No value of an environment variable, no command or argument, no probe, no volume, no
annotation but Stowplan's own, no message of a container, and of a model's address no query, which may be a signature.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from stowplan_fleet import keys

_REDACTED: Final = "(redacted)"

Kept = Mapping[str, Callable[[Any], Any]]
"""Fields that are kept, each with what is kept of its value."""


def redacted(item: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a tree of plain values
    """What a snapshot holds of an object; its input is left as it is. Of a kind that snapshots do not hold, nothing but its name."""
    found = _kept({"apiVersion": _all, "kind": _all, "metadata": _object(_METADATA), **_KINDS.get(str(item.get("kind")), {})}, item)
    secret = _query_of(item) if item.get("kind") == keys.KIND else ""
    # Everywhere: the status may quote the address.
    return _without(found, secret) if secret else found


def _query_of(item: Mapping[str, Any]) -> str:
    """What follows the question mark in the address of a service's model."""
    spec = item.get("spec")
    model = spec.get("model") if isinstance(spec, dict) else None
    return str(model.get("uri", "")).partition("?")[2] if isinstance(model, dict) else ""


def _kept(fields: Kept, item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: keep(item[key]) for key, keep in fields.items() if key in item}


def _all(value: Any) -> Any:  # noqa: ANN401 - whatever stands there
    return value


def _object(fields: Kept) -> Callable[[Any], Any]:
    return lambda value: _kept(fields, value) if isinstance(value, dict) else None


def _each(fields: Kept) -> Callable[[Any], Any]:
    return lambda value: [_kept(fields, entry) for entry in value if isinstance(entry, dict)] if isinstance(value, list) else None


def _plain(*names: str) -> Kept:
    return dict.fromkeys(names, _all)


def _own(annotations: Any) -> Any:  # noqa: ANN401 - whatever stands there
    return {key: value for key, value in annotations.items() if key.startswith(f"{keys.GROUP}/")} if isinstance(annotations, dict) else None


def _without(value: Any, secret: str) -> Any:  # noqa: ANN401 - a tree of plain values
    match value:
        case str():
            return value.replace(secret, _REDACTED)
        case dict():
            return {key: _without(item, secret) for key, item in value.items()}
        case list():
            return [_without(item, secret) for item in value]
        case _:
            return value


def _condition(condition: Mapping[str, Any]) -> dict[str, Any]:
    """A pod's or a node's; only the scheduler's message is known to be about placement."""
    shown = ("type", "status", "reason", "lastTransitionTime", "observedGeneration", *(("message",) if condition.get("type") == "PodScheduled" else ()))
    return _kept(_plain(*shown), condition)


def _conditions(value: Any) -> Any:  # noqa: ANN401 - whatever stands there
    return [_condition(entry) for entry in value if isinstance(entry, dict)] if isinstance(value, list) else None


_METADATA: Final[Kept] = {
    **_plain("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp", "labels"),
    "annotations": _own,
    "ownerReferences": _each(_plain("apiVersion", "kind", "name", "uid", "controller")),
    # When something was written, which audits ask; not what.
    "managedFields": _each(_plain("manager", "operation", "subresource", "time")),
}
_CONTAINER: Final[Kept] = {
    **_plain("name", "image", "resources", "restartPolicy", "ports"),
    "env": _each({**_plain("name", "valueFrom"), "value": lambda _: _REDACTED}),
}
_POD_SPEC: Final[Kept] = {
    **_plain(
        "nodeName", "schedulerName", "overhead", "resources", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints",
        "priority", "priorityClassName", "preemptionPolicy", "runtimeClassName", "restartPolicy", "terminationGracePeriodSeconds",
    ),
    "containers": _each(_CONTAINER),
    "initContainers": _each(_CONTAINER),
}  # fmt: skip
_NODE_INFO: Final = ("architecture", "containerRuntimeVersion", "kernelVersion", "kubeletVersion", "operatingSystem", "osImage")
_KINDS: Final[Mapping[str, Kept]] = {
    "Node": {
        "spec": _object(_plain("unschedulable", "taints")),
        "status": _object({**_plain("allocatable", "capacity"), "conditions": _conditions, "nodeInfo": _object(_plain(*_NODE_INFO))}),
    },
    "Pod": {"spec": _object(_POD_SPEC), "status": _object({**_plain("phase", "startTime"), "conditions": _conditions})},
    # Which keys of a ConfigMap are read at all is decided where it is read (`clusters`).
    "ConfigMap": _plain("data", "binaryData"),
    keys.KIND: {
        "spec": _object({
            **_plain("slo", "load", "server", "replicas", "placement"),
            "model": _object(_plain("uri", "runtime", "inputShapes", "precision", "digest")),
            "template": _object({"metadata": _object({"labels": _all, "annotations": _own}), "spec": _object(_POD_SPEC)}),
        }),
        # Written by the operator, or else by somebody who may write it.
        "status": _all,
    },
}  # fmt: skip

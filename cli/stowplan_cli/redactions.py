"""Redactions: what of a cluster's objects leaves it in a snapshot. Secrets and the values of environment variables do not."""

from collections.abc import Mapping
from typing import Any, Final

# What kubectl and controllers keep for themselves, whole copies of objects among them.
_ANNOTATIONS_LEFT_OUT: Final = ("kubectl.kubernetes.io/last-applied-configuration", "kopf.zalando.org/last-handled-configuration")
_REDACTED: Final = "(redacted)"
# Fields of a container that carry what people would not put into a bug report: arguments hold passwords often enough.
_LEFT_OUT_OF_CONTAINERS: Final = ("command", "args", "lifecycle")
_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")


def redacted(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object without managed fields, without copies of itself in annotations, and with no value of an environment variable; its input is left as it is."""
    kept = {key: value for key, value in item.items() if key != "metadata"}
    metadata = {key: value for key, value in dict(item.get("metadata") or {}).items() if key != "managedFields"}
    if isinstance(annotations := metadata.get("annotations"), dict):
        metadata["annotations"] = {key: value for key, value in annotations.items() if key not in _ANNOTATIONS_LEFT_OUT}
    kept["metadata"] = metadata
    spec = kept.get("spec")
    if isinstance(spec, dict):
        kept["spec"] = spec = _pod_spec(spec)
        template = spec.get("template")
        if isinstance(template, dict) and isinstance(template.get("spec"), dict):
            kept["spec"] = {**spec, "template": {**template, "spec": _pod_spec(template["spec"])}}
    return kept


def _pod_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: [_container(item) for item in value] if key in _CONTAINERS and isinstance(value, list) else value for key, value in spec.items()}


def _container(container: Any) -> Any:  # noqa: ANN401 - whatever stands there
    if not isinstance(container, dict):
        return container
    kept = {key: value for key, value in container.items() if key not in _LEFT_OUT_OF_CONTAINERS}
    if isinstance(environment := kept.get("env"), list):
        kept["env"] = [{**entry, "value": _REDACTED} if isinstance(entry, dict) and "value" in entry else entry for entry in environment]
    return kept

"""Pod templates: the user's own, kept as written, with what makes its pods ours."""

import copy
from collections.abc import Mapping
from typing import Any, Final

from stowplan_fleet import keys, quantities
from stowplan_fleet.slices import SliceKind

from stowplan_operator.sizing.rungs import Rung

# The container learns its slice from the annotation that the Binding writes; it is there before the container starts.
SLICE_VARIABLE: Final = "STOWPLAN_SLICE"


def on_rung(template: Mapping[str, Any], service: str, rung: Rung) -> dict[str, Any]:
    """The pod template of a service on a rung.

    Args:
        template: `spec.template` of the InferenceService, checked (`checks.check`); not changed.
        service: its name.
        rung: where it shall run.
    """
    result: dict[str, Any] = copy.deepcopy(dict(template))
    metadata = result["metadata"] = result.get("metadata") or {}
    metadata["labels"] = {**(metadata.get("labels") or {}), keys.SERVICE_LABEL: service}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), keys.SLICE_CLASS_ANNOTATION: str(rung.candidate.slice_class)}
    spec = result["spec"]
    spec["schedulerName"] = keys.SCHEDULER_NAME
    # No preemptionPolicy: the API server takes it from the pod's PriorityClass and refuses any other (admission plug-in Priority). That our
    # pods preempt nobody is the scheduler's configuration: its dry run asks no extender, so its plug-in DefaultPreemption is off.
    _give_slice(spec["containers"][0], rung)
    return result


def _give_slice(container: dict[str, Any], rung: Rung) -> None:
    resources = container["resources"] = dict(container.get("resources") or {})
    ours = {str(rung.candidate.resource): _amount(rung), keys.MARKER_RESOURCE: keys.MARKER_AMOUNT}
    for kind in ("requests", "limits"):
        resources[kind] = {**(resources.get(kind) or {}), **ours}
    others = [entry for entry in container.get("env") or [] if entry.get("name") != SLICE_VARIABLE]
    field = f"metadata.annotations['{keys.BOUND_SLICE_ANNOTATION}']"
    container["env"] = [*others, {"name": SLICE_VARIABLE, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}}]


def _amount(rung: Rung) -> str:
    piece = rung.candidate.slice_class.slice
    return quantities.format_millicores(piece.cpu_millicores) if piece.kind is SliceKind.CPU else "1"

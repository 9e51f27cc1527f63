"""Neighbours: which pods of a node are tenants of one device, as the API server shows them; read once more for audits, like `plainobjects`."""

from collections.abc import Iterator, Sequence
from typing import Final

from stowplan_fleet import keys

from stowplan_cli.objects.plainobjects import Raw, annotations_of, bound_at, is_ours, requests_of

# What requests less of the CPU is no tenant (docs/invariants.md): agents of every node.
_FELT_CORES: Final = 0.1
_SHARED: Final = (keys.GPU_RESOURCE, keys.GPU_SHARED_RESOURCE)


def unwanted_by(pod: Raw, here: Sequence[Raw]) -> Iterator[Raw]:
    """Those on its node that share the device with a pod of ours, but for pods that others bound in the same second or later: those asked nobody here."""
    since = bound_at(pod)
    for other in here:
        if other is pod or not _share(pod, other):
            continue
        came = bound_at(other)
        if is_ours(other) or since is None or came is None or came < since:
            yield other


def device_on(node: Raw, device: str, kind: str) -> str | None:
    """What the node says its device is, where that is not the one a slice is of; None where it is, or where nothing is said that could be held against it."""
    labels = node["metadata"].get("labels") or {}
    if kind.startswith("cpu:"):
        named = labels.get(keys.DEVICE_LABEL)
        return None if named == device else named or "not named"
    products = [text for key, text in labels.items() if key == keys.GPU_PRODUCT or (key.startswith(keys.MIG_RESOURCE_PREFIX) and key.endswith(".product"))]
    # A label has 63 characters, so that a long product is cut; sharing and profiles are written behind it.
    return None if any(text.startswith(device) or device.startswith(text) for text in products) else ", ".join(sorted(products)) or "not named"


def _share(pod: Raw, other: Raw) -> bool:
    kind, asked = _kind(pod), requests_of(other)
    if kind.startswith("cpu:"):
        return (is_ours(other) and _kind(other).startswith("cpu:")) or asked.get("cpu", 0.0) >= _FELT_CORES
    # Whole GPUs and MIG instances have nothing in common with others.
    return kind.startswith(("mps-", "time-")) and any(asked.get(name, 0.0) > 0 and requests_of(pod).get(name, 0.0) > 0 for name in _SHARED)


def _kind(pod: Raw) -> str:
    return annotations_of(pod).get(keys.BOUND_SLICE_ANNOTATION, "").partition("/")[2]

"""GPU slices of a node, from resource names and GPU-feature-discovery's labels.

Sources: NVIDIA k8s-device-plugin v0.20.0, docs/gpu-feature-discovery/README.md and internal/lm (labels), README "Shared access to GPUs" (resource
names, `.shared`, `-SHARED`). In short: the product label is the GPU's name with blanks as dashes, then `-MIG-<profile>` for a MIG instance, then `-SHARED`
where a shared resource keeps its name; `replicas` tells how many ways one is shared; labels describe one GPU model per node.
Whatever is missing or contradicts itself becomes a problem and no offer.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from stowplan_fleet import keys, slices
from stowplan_fleet.devices import GpuDevice, GpuInstance
from stowplan_fleet.errors import SliceNameRefused, ValueRefused
from stowplan_fleet.offers import ResourceName, SliceOffer
from stowplan_fleet.slices import DeviceName, Slice, SliceClass, SliceKind

_MIB: Final = 1 << 20
_SHARED_SUFFIX: Final = "-SHARED"
_MIG_IN_PRODUCT: Final = re.compile(r"(?P<parent>.+)-MIG-(?P<profile>[0-9]{1,2}g\.[0-9]{1,4}gb)(?P<suffix>[a-z.+-]*)")
_VGPU: Final = "nvidia.com/vgpu.present"


class _Unclear(ValueRefused):
    """A resource whose slice class the labels do not settle."""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """GPU slices of a node, the GPUs they are cut from, and what could not be read."""

    offers: tuple[SliceOffer, ...] = ()
    gpus: tuple[GpuDevice, ...] = ()
    problems: tuple[str, ...] = ()


def read_gpus(labels: Mapping[str, str], amounts: Mapping[str, int]) -> GpuReading:
    """Reads what GPU slices a node offers.

    Args:
        labels: of the node.
        amounts: allocatable counts by resource; resources of other kinds are passed over.
    """
    offers: list[SliceOffer] = []
    problems: list[str] = []
    for resource in sorted(amounts):
        if _is_gpu(resource) and amounts[resource] > 0:
            try:
                offers.append(_offer(resource, amounts[resource], labels, amounts))
            except ValueRefused as error:
                problems.append(f"{amounts[resource]} of {resource} cannot be used: {error}")
    gpus = tuple(_devices(offers, labels, problems))
    return GpuReading(tuple(offers), gpus, tuple(problems))


def _is_gpu(resource: str) -> bool:
    return resource == keys.GPU_RESOURCE or resource.startswith((keys.GPU_RESOURCE + ".", keys.MIG_RESOURCE_PREFIX))


def _offer(resource: str, count: int, labels: Mapping[str, str], amounts: Mapping[str, int]) -> SliceOffer:
    if labels.get(_VGPU) == "true":
        raise _Unclear(f"label {_VGPU} says these are virtual GPUs; who else uses the physical ones is not known here")
    if resource.startswith(keys.MIG_RESOURCE_PREFIX):
        return _mig_mixed(resource, count, labels)
    if resource not in {keys.GPU_RESOURCE, keys.GPU_SHARED_RESOURCE}:
        raise _Unclear("a resource that the sharing configuration renamed; keep the names nvidia.com/gpu or nvidia.com/gpu.shared")
    product = labels.get(keys.GPU_PRODUCT, "")
    if not product:
        raise _Unclear(f"label {keys.GPU_PRODUCT} is missing; does GPU-feature-discovery run on this node?")
    if product.endswith("-MIG-INVALID"):
        raise _Unclear("the node's MIG layout is invalid for strategy single (MIG on some GPUs only, empty, or of several profiles)")
    other = keys.GPU_SHARED_RESOURCE if resource == keys.GPU_RESOURCE else keys.GPU_RESOURCE
    if amounts.get(other, 0) > 0:
        raise _Unclear(f"the node advertises {other} too, and the device plugin shares all GPUs of a node or none; one of the two is stale")
    base, shared_suffix = (product.removesuffix(_SHARED_SUFFIX), True) if product.endswith(_SHARED_SUFFIX) else (product, False)
    is_shared = resource == keys.GPU_SHARED_RESOURCE or shared_suffix
    instance = _MIG_IN_PRODUCT.fullmatch(base)
    if instance:
        if is_shared or _replicas(labels, keys.GPU_RESOURCE) > 1:
            raise _Unclear("MIG instances shared by time slicing have no slice class")
        return _mig_offer(resource, count, instance, labels, keys.GPU_RESOURCE)
    share = _shared_slice(labels) if is_shared else _full_slice(labels)
    _check_count(count, labels)
    memory = _number(labels, keys.GPU_MEMORY_MIB)
    return SliceOffer(
        slice_class=SliceClass(_device(base), share),
        resource=ResourceName(resource),
        count=count,
        multiprocessors=_number(labels, keys.GPU_MULTIPROCESSORS) if share.kind is SliceKind.FULL else None,
        memory_bytes=memory * _MIB if memory and share.kind is SliceKind.FULL else None,
    )


def _full_slice(labels: Mapping[str, str]) -> Slice:
    strategy = labels.get(keys.GPU_SHARING, "none")
    # 0 marks the parents of MIG instances: a whole GPU beside them is not shared.
    if strategy != "none" or _replicas(labels, keys.GPU_RESOURCE) > 1:
        raise _Unclear(f"labels say the GPUs are shared ({strategy}), the product does not end in {_SHARED_SUFFIX}; one of the two is stale")
    return Slice(SliceKind.FULL)


def _shared_slice(labels: Mapping[str, str]) -> Slice:
    strategy = labels.get(keys.GPU_SHARING, "")
    replicas = _replicas(labels, keys.GPU_RESOURCE)
    if strategy not in {"mps", "time-slicing"}:
        raise _Unclear(f"how the GPUs are shared is not known: label {keys.GPU_SHARING} is {strategy or 'missing'!r}; wanted mps or time-slicing")
    if replicas < 2:
        raise _Unclear(f"the GPUs are shared, but label {keys.GPU_REPLICAS} is {labels.get(keys.GPU_REPLICAS, 'missing')!r}; wanted 2 or more")
    try:
        return slices.parse_slice(f"mps-{slices.mps_percent(replicas)}" if strategy == "mps" else f"time-{replicas}")
    except SliceNameRefused as error:
        raise _Unclear(f"{replicas} replicas of a GPU: {error}") from error


def _mig_mixed(resource: str, count: int, labels: Mapping[str, str]) -> SliceOffer:
    if resource.endswith(".shared") or labels.get(f"{resource}.product", "").endswith(_SHARED_SUFFIX) or _replicas(labels, resource) > 1:
        raise _Unclear("MIG instances shared by time slicing have no slice class")
    profile = resource.removeprefix(keys.MIG_RESOURCE_PREFIX)
    product = labels.get(f"{resource}.product", "")
    instance = _MIG_IN_PRODUCT.fullmatch(product or f"{labels.get(keys.GPU_PRODUCT, '')}-MIG-{profile}")
    if instance is None:
        raise _Unclear(f"label {resource}.product is {product or 'missing'!r}, and so the GPU is not known; does GPU-feature-discovery run on this node?")
    if _profile(instance) != slices.parse_slice(f"mig-{profile}").profile:
        raise _Unclear(f"label {resource}.product names another profile: {product!r}")
    return _mig_offer(resource, count, instance, labels, resource)


def _mig_offer(resource: str, count: int, instance: re.Match[str], labels: Mapping[str, str], prefix: str) -> SliceOffer:
    memory = _number(labels, f"{prefix}.memory")
    own_labels = prefix != keys.GPU_RESOURCE or _MIG_IN_PRODUCT.fullmatch(labels.get(keys.GPU_PRODUCT, "")) is not None
    return SliceOffer(
        slice_class=SliceClass(_device(instance["parent"]), slices.parse_slice(f"mig-{_profile(instance)}")),
        resource=ResourceName(resource),
        count=count,
        multiprocessors=_number(labels, f"{prefix}.multiprocessors") if own_labels else None,
        memory_bytes=memory * _MIB if memory and own_labels else None,
    )


def _profile(instance: re.Match[str]) -> str:
    # Labels cannot hold `+`, so `1g.10gb+me` reads `1g.10gbme` there and `1g.10gb.me` in a resource's name.
    suffix = instance["suffix"]
    if suffix and suffix[0] not in ".-":
        suffix = "." + suffix.removeprefix("+")
    return instance["profile"] + suffix


def _devices(offers: list[SliceOffer], labels: Mapping[str, str], problems: list[str]) -> Iterator[GpuDevice]:
    def size(key: str) -> int | None:
        # A slice may be usable without the GPU's own sizes: an unreadable one stays unknown, and is told.
        try:
            return _number(labels, key)
        except ValueRefused as error:
            problems.append(f"a size of the GPU stays unknown: {error}")
            return None

    product = labels.get(keys.GPU_PRODUCT, "").removesuffix(_SHARED_SUFFIX)
    for name in sorted({offer.slice_class.device for offer in offers}):
        # With strategy single the labels describe an instance, and another model's labels describe another GPU.
        described = name == product
        memory = size(keys.GPU_MEMORY_MIB) if described else None
        instances = {
            offer.slice_class.slice.profile: GpuInstance(offer.multiprocessors, offer.memory_bytes)
            for offer in offers
            if offer.slice_class.device == name and offer.slice_class.slice.kind is SliceKind.MIG
        }
        multiprocessors = size(keys.GPU_MULTIPROCESSORS) if described else None
        yield GpuDevice(name, memory * _MIB if memory else None, multiprocessors, MappingProxyType(instances))


def _device(product: str) -> DeviceName:
    if not slices.is_device_name(product):
        raise _Unclear(f"product {product[:64]!r} is not the name of a device")
    return DeviceName(product)


def _check_count(count: int, labels: Mapping[str, str]) -> None:
    gpus = _number(labels, keys.GPU_COUNT)
    most = (gpus or 0) * max(1, _replicas(labels, keys.GPU_RESOURCE))
    if gpus is not None and count > most:
        raise _Unclear(f"labels {keys.GPU_COUNT} and {keys.GPU_REPLICAS} account for {most} only; one of the two is stale")


def _replicas(labels: Mapping[str, str], prefix: str) -> int:
    return _number(labels, f"{prefix}.replicas") or 0


def _number(labels: Mapping[str, str], key: str) -> int | None:
    text = labels.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _Unclear(f"label {key} is {text[:64]!r}, not a number")
    return int(text)

"""GPU slices of a node, from resource names and GPU-feature-discovery's labels.

Sources: NVIDIA k8s-device-plugin v0.20.0, docs/gpu-feature-discovery/README.md and internal/lm (labels), README "Shared access to GPUs" (resource
names, `.shared`). In short: product labels are read by `gpu_products`; `replicas` tells how many ways one GPU is shared; labels describe one GPU
model per node.
Whatever is missing or contradicts itself becomes a problem and no offer.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from stowplan_fleet import gpu_products, keys, slices
from stowplan_fleet.devices import GpuDevice, GpuInstance
from stowplan_fleet.errors import SliceNameRefused, ValueRefused
from stowplan_fleet.gpu_products import Product
from stowplan_fleet.offers import ResourceName, SliceOffer
from stowplan_fleet.slices import DeviceName, Slice, SliceClass, SliceKind

_MIB: Final = 1 << 20
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
    read = gpu_products.read(product)
    beside = _shared_beside_whole(labels, amounts)
    is_shared = resource == keys.GPU_SHARED_RESOURCE or read.is_shared
    if read.profile is not None:
        if is_shared or _replicas(labels, keys.GPU_RESOURCE) > 1:
            raise _Unclear("MIG instances shared by time slicing have no slice class")
        _check_count(count, labels, keys.GPU_RESOURCE)
        return _mig_offer(resource, count, read, labels, keys.GPU_RESOURCE)
    share = _shared_slice(labels) if is_shared else _full_slice(labels, beside=beside)
    if not beside:
        _check_count(count, labels, keys.GPU_RESOURCE)
    memory = _number(labels, keys.GPU_MEMORY_MIB)
    return SliceOffer(
        slice_class=SliceClass(_device(read.gpu), share),
        resource=ResourceName(resource),
        count=count,
        replicas=_replicas(labels, keys.GPU_RESOURCE) if is_shared else 1,
        multiprocessors=_number(labels, keys.GPU_MULTIPROCESSORS) if share.kind is SliceKind.FULL else None,
        memory_bytes=memory * _MIB if memory and share.kind is SliceKind.FULL else None,
    )


def _shared_beside_whole(labels: Mapping[str, str], amounts: Mapping[str, int]) -> bool:
    """Whether some of the node's GPUs are shared and the others whole (a device plugin that was told which to share); their numbers must come out."""
    whole, shared = amounts.get(keys.GPU_RESOURCE, 0), amounts.get(keys.GPU_SHARED_RESOURCE, 0)
    if whole <= 0 or shared <= 0:
        return False
    count, replicas = _number(labels, keys.GPU_COUNT), _replicas(labels, keys.GPU_RESOURCE)
    if replicas < 2 or count is None or whole * replicas + shared != count * replicas:
        raise _Unclear(
            f"the node advertises {whole} of {keys.GPU_RESOURCE} beside {shared} of {keys.GPU_SHARED_RESOURCE}, which its labels {keys.GPU_COUNT} and "
            f"{keys.GPU_REPLICAS} do not account for; one of the two is stale"
        )
    return True


def _full_slice(labels: Mapping[str, str], *, beside: bool) -> Slice:
    strategy = labels.get(keys.GPU_SHARING, "none")
    # 0 marks the parents of MIG instances: a whole GPU beside them is not shared. Beside shared GPUs the labels speak of those.
    if beside:
        return Slice(SliceKind.FULL)
    if strategy != "none" or _replicas(labels, keys.GPU_RESOURCE) > 1:
        raise _Unclear(f"labels say the GPUs are shared ({strategy}), the product does not end in {gpu_products.SHARED_SUFFIX}; one of the two is stale")
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
    profile = resource.removeprefix(keys.MIG_RESOURCE_PREFIX)
    text = labels.get(f"{resource}.product", "")
    read = gpu_products.read(text or f"{labels.get(keys.GPU_PRODUCT, '')}-MIG-{profile}", labels.get(keys.GPU_PRODUCT, ""))
    if resource.endswith(".shared") or read.is_shared or _replicas(labels, resource) > 1:
        raise _Unclear("MIG instances shared by time slicing have no slice class")
    if read.profile is None or not read.gpu:
        raise _Unclear(f"label {resource}.product is {text or 'missing'!r}, and so the GPU is not known; does GPU-feature-discovery run on this node?")
    if read.profile != slices.parse_slice(f"mig-{profile}").profile:
        raise _Unclear(f"label {resource}.product names another profile: {text!r}")
    _check_count(count, labels, resource)
    return _mig_offer(resource, count, read, labels, resource)


def _mig_offer(resource: str, count: int, read: Product, labels: Mapping[str, str], prefix: str) -> SliceOffer:
    memory = _number(labels, f"{prefix}.memory")
    return SliceOffer(
        slice_class=SliceClass(_device(read.gpu), slices.parse_slice(f"mig-{read.profile}")),
        resource=ResourceName(resource),
        count=count,
        multiprocessors=_number(labels, f"{prefix}.multiprocessors"),
        memory_bytes=memory * _MIB if memory else None,
    )


def _devices(offers: list[SliceOffer], labels: Mapping[str, str], problems: list[str]) -> Iterator[GpuDevice]:
    def size(key: str) -> int | None:
        # A slice may be usable without the GPU's own sizes: an unreadable one stays unknown, and is told.
        try:
            return _number(labels, key)
        except ValueRefused as error:
            problems.append(f"a size of the GPU stays unknown: {error}")
            return None

    product = labels.get(keys.GPU_PRODUCT, "").removesuffix(gpu_products.SHARED_SUFFIX)
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


def _check_count(count: int, labels: Mapping[str, str], prefix: str) -> None:
    found = _number(labels, f"{prefix}.count")
    most = (found or 0) * max(1, _replicas(labels, prefix))
    if found is not None and count > most:
        raise _Unclear(
            f"labels {prefix}.count and {prefix}.replicas account for {most} only; they are stale, or the node has GPUs of two models, which its labels cannot "
            "tell apart"
        )


def _replicas(labels: Mapping[str, str], prefix: str) -> int:
    return _number(labels, f"{prefix}.replicas") or 0


def _number(labels: Mapping[str, str], key: str) -> int | None:
    text = labels.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _Unclear(f"label {key} is {text[:64]!r}, not a number")
    return int(text)

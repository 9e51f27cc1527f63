"""Prices: what one slice of a class costs.

Told by the administrator, in any unit: for a slice class, or for a device (a whole GPU, one core of a CPU), of which a slice pays its share. Nodes may tell
the same of themselves by labels. Where nobody tells, a slice costs its share of the device; a share is no price, and is never weighed against one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from stowplan_fleet import keys, slices
from stowplan_fleet.errors import ValueRefused
from stowplan_fleet.nodes import NodeInventory
from stowplan_fleet.slices import DeviceName, Slice, SliceClass, SliceKind

# Exponents, because helm writes a million as 1e+06; two digits of them, so that no text makes a huge number.
_PRICE: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?")
# A MIG profile `3g...` has three of seven compute slices (NVIDIA MIG user guide, "Supported MIG Profiles").
_MIG_COMPUTE_SLICES: Final = 7


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one slice."""

    amount: Fraction
    priced: bool
    """True: in the administrator's unit. False: cores of a CPU, or the share of a GPU."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What is known of prices; a class's own wins over its device's."""

    by_class: Mapping[SliceClass, Fraction] = field(default_factory=dict)
    by_device: Mapping[DeviceName, Fraction] = field(default_factory=dict)
    """Of a whole GPU, or of one core of a CPU."""

    def cost_of(self, slice_class: SliceClass) -> Cost:
        """What one slice costs."""
        own = self.by_class.get(slice_class)
        if own is not None:
            return Cost(own, priced=True)
        share, of_device = share_of(slice_class.slice), self.by_device.get(slice_class.device)
        return Cost(share, priced=False) if of_device is None else Cost(share * of_device, priced=True)

    def over(self, others: "Prices") -> "Prices":
        """Both together; where both know a price, this one counts."""
        return Prices({**others.by_class, **self.by_class}, {**others.by_device, **self.by_device})


def share_of(piece: Slice) -> Fraction:
    """What one slice takes: cores of a CPU, or the share of a GPU."""
    match piece.kind:
        case SliceKind.CPU:
            return Fraction(piece.cpu_millicores, 1000)
        case SliceKind.MIG:
            return Fraction(int(piece.profile.partition("g")[0]), _MIG_COMPUTE_SLICES)
        case SliceKind.MPS:
            return Fraction(int(piece.profile), 100)
        case SliceKind.TIME:
            return Fraction(1, int(piece.profile))
        case SliceKind.FULL:
            return Fraction(1)


def parse_prices(texts: Iterable[str]) -> Prices:
    """Reads `DEVICE=PRICE` and `DEVICE/SLICE=PRICE`.

    Raises:
        ValueRefused: one is neither; names it.
    """
    by_class: dict[SliceClass, Fraction] = {}
    by_device: dict[DeviceName, Fraction] = {}
    for text in texts:
        name, separator, amount = text.partition("=")
        if not separator:
            raise ValueRefused(f"{text[:128]!r} is no price: write DEVICE=PRICE (a whole GPU, one core of a CPU) or DEVICE/SLICE=PRICE")
        price = parse_price(amount, name)
        if "/" in name:
            by_class[slices.parse_slice_class(name)] = price
        elif slices.is_device_name(name):
            by_device[DeviceName(name)] = price
        else:
            raise ValueRefused(f"{name[:128]!r} names no device: write DEVICE=PRICE or DEVICE/SLICE=PRICE")
    return Prices(by_class, by_device)


def parse_price(text: str, of: str) -> Fraction:
    """Reads a price.

    Raises:
        ValueRefused: it is no decimal number from 0 up.
    """
    if not _PRICE.fullmatch(text.strip()):
        raise ValueRefused(f"price of {of[:128]!r}: {text[:32]!r} is no decimal number from 0 up")
    return Fraction(text.strip())


def labelled(nodes: Iterable[tuple[NodeInventory, Mapping[str, str]]]) -> tuple[Prices, tuple[str, ...]]:
    """What nodes tell of their prices by labels, and what could not be read.

    Where nodes with the same device tell different prices the highest counts: the scheduler may choose any of them.
    """
    found: dict[DeviceName, Fraction] = {}
    by_class: dict[SliceClass, Fraction] = {}
    problems: list[str] = []
    for inventory, labels in nodes:
        for name, price in _of_slices(inventory, labels, problems).items():
            by_class[name] = max(by_class.get(name, price), price)
        of_gpus = {offer.slice_class.device for offer in inventory.offers}
        of_cpus = {inventory.cpu_device} if inventory.cpu_device is not None else set()
        for label, devices in ((keys.GPU_PRICE_LABEL, of_gpus), (keys.CORE_PRICE_LABEL, of_cpus)):
            if label not in labels:
                continue
            try:
                price = parse_price(labels[label], label)
            except ValueRefused as error:
                problems.append(f"node {inventory.name}: {error}")
                continue
            for device in devices:
                found[device] = max(found.get(device, price), price)
    return Prices(by_class, found), tuple(problems)


def _of_slices(inventory: NodeInventory, labels: Mapping[str, str], problems: list[str]) -> dict[SliceClass, Fraction]:
    """Prices of slice classes that one node tells; what cannot be read is added to the problems."""
    found: dict[SliceClass, Fraction] = {}
    for label, text in labels.items():
        if not label.startswith(keys.SLICE_PRICE_LABEL):
            continue
        try:
            # A label's name has no colon.
            piece = slices.parse_slice(re.sub("^cpu-", "cpu:", label.removeprefix(keys.SLICE_PRICE_LABEL)))
            price = parse_price(text, label)
        except ValueRefused as error:
            problems.append(f"node {inventory.name}: label {label}: {error}")
            continue
        devices = {offer.slice_class.device for offer in inventory.offers if offer.slice_class.slice == piece}
        if piece.kind is SliceKind.CPU and inventory.cpu_device is not None:
            devices.add(inventory.cpu_device)
        found |= {SliceClass(device, piece): price for device in devices}
    return found

"""Kubernetes quantities (`500m`, `2`, `16Gi`) as exact integers.

The grammar is `k8s.io/apimachinery/pkg/api/resource` (quantity.go): a decimal number with a binary, decimal or exponent suffix.
A test holds this against `kubernetes.utils.parse_quantity`; we do not call that one because importing the client costs
half a second and 100 MB in processes that need only this.
"""

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Final

from stowplan_fleet.errors import QuantityRefused

_SUFFIXES: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9, "T": Decimal(10) ** 12, "P": Decimal(10) ** 15, "E": Decimal(10) ** 18,
    "Ki": Decimal(1 << 10), "Mi": Decimal(1 << 20), "Gi": Decimal(1 << 30), "Ti": Decimal(1 << 40), "Pi": Decimal(1 << 50), "Ei": Decimal(1 << 60),
}  # fmt: skip
_QUANTITY: Final = re.compile(r"([+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30}))(?:([eE][+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII)


def parse_quantity(text: str) -> Decimal:
    """The exact value of a Kubernetes quantity.

    Raises:
        QuantityRefused: `text` is not a quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise QuantityRefused(f"{text[:64]!r} is not a Kubernetes quantity: write a number such as 2, 500m or 16Gi")
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number + exponent)
    return Decimal(number) * _SUFFIXES[suffix or ""]


# The same few quantities stand on every pod; what is kept is short, for longer numbers are none.
@lru_cache(4096)
def millicores(text: str) -> int:
    """CPU in thousandths of a core, rounded up as the API server does."""
    return int((parse_quantity(text) * 1000).to_integral_value(ROUND_CEILING))


@lru_cache(4096)
def whole(text: str) -> int:
    """A count or a number of bytes, rounded up as the API server does."""
    return int(parse_quantity(text).to_integral_value(ROUND_CEILING))


def format_millicores(value: int) -> str:
    """Shortest Kubernetes spelling: 2000 is `2`, 500 is `500m`."""
    return str(value // 1000) if value % 1000 == 0 else f"{value}m"

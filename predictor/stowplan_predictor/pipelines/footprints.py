"""Footprints: about how many bytes of memory a plain value takes."""

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def footprint_bytes(value: Any) -> int:  # noqa: ANN401 - of whatever is remembered
    """Of a value made of dataclasses, tuples, mappings, strings, numbers and arrays. What two parts share is counted twice, except equal strings beside each
    other: an estimate from above.
    """
    if isinstance(value, np.ndarray):
        return sys.getsizeof(value) if value.base is None else sys.getsizeof(value) + value.nbytes
    if is_dataclass(value):
        return sys.getsizeof(value) + sum(footprint_bytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, str | bytes | int | float | None):
        return sys.getsizeof(value)
    if isinstance(value, Mapping):
        return sys.getsizeof(value) + sum(footprint_bytes(key) + footprint_bytes(item) for key, item in value.items())
    if isinstance(value, tuple | list):
        return sys.getsizeof(value) + sum(footprint_bytes(item) for item in value)
    raise TypeError(f"{type(value).__name__} is no plain value")

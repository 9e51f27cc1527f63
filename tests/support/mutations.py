"""Mutations of inputs that were sound: bytes flipped, cut, doubled; in JSON, values put where others belong. Seeded: a run can be had again."""

import copy
import json
import random
from typing import Any, Final

# What parsers trip over: no numbers, huge ones, other types, names that mean something elsewhere, what no UTF-8 is, depth.
_ODD: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 1e308, 0.1, "", "-1", "NaN", "1e400", "10Ei", "-5m", "0x10", "cpu:0", "cpu:99999999", "full", "\x00",
    "\ud800", "a" * 5_000, "../..", "vision/ant", "made-up/cpu:1", [], {}, [[]], {"": {}}, ["a"] * 200, {"x": {"y": {"z": []}}},
)  # fmt: skip
_CHUNK: Final = 64
# Stands where nesting is wanted; written out in the text, for no encoder goes that deep.
_DEEP: Final = "@deep@"


def mutated(data: bytes, rng: random.Random, largest: int = 1 << 20) -> bytes:
    """A mutation of the input, of its values where it is JSON and the dice say so."""
    if rng.random() < 0.6:
        try:
            text = _altered(data, rng)
        except (ValueError, RecursionError):
            text = ""  # what is not JSON any more, or too deep for this reader, is disturbed byte by byte
        if text:
            return text.encode()[:largest]
    return disturbed(data, rng, largest)


def _altered(data: bytes, rng: random.Random) -> str:
    """Other values in the same text; empty where it holds one value only."""
    plain = json.loads(data)
    if not isinstance(plain, dict | list):
        return ""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _alter(plain, rng)
    text = json.dumps(plain)
    if _DEEP in text:
        depth = rng.choice((3, 50, 50, 50, 900, 900, 3_000, 9_000))
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        text = text.replace(f'"{_DEEP}"', opening * depth + "1" + closing * depth)
    return text


def disturbed(data: bytes, rng: random.Random, largest: int = 1 << 20) -> bytes:
    """Bytes of the input flipped, cut, doubled or replaced."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        _disturb(changed, rng)
    return bytes(changed[:largest])


def _alter(plain: Any, rng: random.Random) -> None:
    """Changes one value somewhere in the tree."""
    parent, key = plain, _some_key(plain, rng)
    while key is not None and isinstance(parent[key], dict | list) and parent[key] and rng.random() < 0.85:
        parent = parent[key]
        key = _some_key(parent, rng)
    if key is None:
        return
    match rng.randrange(4):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(("", "x", "metadata", "spec", str(key) + "s"))] = copy.deepcopy(parent[key])
        case 2:
            parent[key] = _DEEP if rng.random() < 0.005 else _odd(rng)
        case _:
            parent[key] = _odd(rng)


def _odd(rng: random.Random) -> Any:
    """A copy: the next mutation may change it."""
    return copy.deepcopy(rng.choice(_ODD))


def _some_key(plain: Any, rng: random.Random) -> Any:
    if isinstance(plain, dict):
        return rng.choice(list(plain)) if plain else None
    return rng.randrange(len(plain)) if plain else None


def _disturb(changed: bytearray, rng: random.Random) -> None:
    if not changed:
        changed += rng.randbytes(8)
        return
    start = rng.randrange(len(changed))
    end = min(len(changed), start + rng.randint(1, _CHUNK))
    match rng.randrange(6):
        case 0:
            changed[start] ^= 1 << rng.randrange(8)
        case 1:
            changed[start] = rng.choice(b'\x00\x01\x7f\x80\xff"{}[],:0-')
        case 2:
            del changed[start:end]
        case 3:
            changed[start:start] = changed[start:end]
        case 4:
            changed[start:end] = rng.randbytes(end - start)
        case _:
            del changed[start:]

"""From bytes or plain dictionaries to structs, with errors that name the object and the path inside it."""

import contextlib
from typing import Any, TypeVar

import msgspec

from stowplan_fleet.errors import ManifestRefused

T = TypeVar("T")


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""


class _Head(msgspec.Struct, frozen=True):
    metadata: _Named = _Named()


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all structs here: camelCase outside, snake_case inside, unknown fields skipped."""


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}  # building one costs milliseconds, and kinds are few


def from_json(data: bytes | msgspec.Raw, kind: type[T], where: str = "") -> T:
    """Decodes JSON into a struct; nulls count as absent.

    Args:
        data: the JSON text.
        kind: the struct.
        where: what is being read, for the message; the struct's name when empty.

    Raises:
        ManifestRefused: not JSON, or a field of the wrong type; the message holds the path.
    """
    try:
        decoder = _DECODERS.get(kind) or _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
        decoded: T = decoder.decode(data)
    except msgspec.ValidationError as error:
        # Go writes null for an absent time, list or map. Read again without nulls, which costs too much to do for every object.
        if b"null" in bytes(data):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return msgspec.convert(_without_nulls(msgspec.json.decode(data)), kind)
        raise ManifestRefused(f"{where or kind.__name__ + _name_in(data)}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestRefused(f"{where or kind.__name__ + _name_in(data)}: {error}") from error
    return decoded


def _name_in(data: bytes | msgspec.Raw) -> str:
    """Which object it is, for a message, where that much can be read."""
    try:
        metadata = msgspec.json.decode(data, type=_Head).metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return f" {metadata.namespace}/{metadata.name}".replace(" /", " ") if metadata.name else ""


def from_plain(value: object, kind: type[T], where: str = "") -> T:
    """Converts what a YAML or JSON parser gave (dictionaries, lists, scalars) into a struct; nulls count as absent.

    Raises:
        ManifestRefused: a field of the wrong type, or nesting beyond what an API server stores; the message holds the path.
    """
    try:
        return msgspec.convert(_without_nulls(value), kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ManifestRefused(f"{where or kind.__name__}: {error}") from error


def _without_nulls(value: object) -> object:
    # People write `labels:` with nothing behind it, and Go writes null for an absent slice: both mean absent.
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def to_json(value: Any) -> bytes:  # noqa: ANN401 - whatever msgspec can encode
    """JSON of a struct, fields at their default left out."""
    return msgspec.json.encode(value)

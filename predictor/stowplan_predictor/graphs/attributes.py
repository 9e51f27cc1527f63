"""Attributes of nodes as plain values."""

from collections.abc import Iterable, Mapping
from typing import Final

from onnx import AttributeProto, NodeProto

from stowplan_predictor.errors import GraphTooLarge, ModelUnreadable
from stowplan_predictor.graphs.limits import Limits
from stowplan_predictor.graphs.opgraphs import AttributeValue

# Of a name, in an error.
_SHOWN_CHARACTERS: Final = 128


def clipped(name: object) -> str:
    """A name as errors show it: quoted, and cut where it is longer than anyone reads."""
    text = repr(name[:_SHOWN_CHARACTERS]) if isinstance(name, str | bytes) else repr(name)
    return f"{text}..." if isinstance(name, str | bytes) and len(name) > _SHOWN_CHARACTERS else text


def check_names(names: Iterable[object], where: str, limits: Limits) -> None:
    """Protocol buffers hand out bytes where a string is not UTF-8; such a name would travel far before it broke something.

    Raises:
        ModelUnreadable: a name is not UTF-8.
        GraphTooLarge: a name is longer than any exporter writes.

    """
    for name in names:
        if not isinstance(name, str):
            raise ModelUnreadable(f"{where}: the name {clipped(name)} is not UTF-8; the file is damaged, export it again")
        if len(name) > limits.max_name_bytes:
            raise GraphTooLarge(f"{where}: the name {clipped(name)} has {len(name)} characters, more than {limits.max_name_bytes}; export the model anew")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def plain(attributes: Iterable[AttributeProto]) -> dict[str, AttributeValue]:
    """Numbers and strings by name; tensors, types and sub-graphs are left out."""
    found: dict[str, AttributeValue] = {}
    for a in attributes:
        match a.type:
            case AttributeProto.INT:
                found[a.name] = a.i
            case AttributeProto.FLOAT:
                found[a.name] = a.f
            case AttributeProto.STRING:
                found[a.name] = _text(a.s)
            case AttributeProto.INTS:
                found[a.name] = tuple(a.ints)
            case AttributeProto.FLOATS:
                found[a.name] = tuple(a.floats)
            case AttributeProto.STRINGS:
                found[a.name] = tuple(map(_text, a.strings))
    return found


def resolved(node: NodeProto, arguments: Mapping[str, AttributeProto]) -> NodeProto:
    """The node with references to attributes of the function around it replaced by what the call gave."""
    if not any(a.ref_attr_name for a in node.attribute):
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for a in node.attribute:
        if not a.ref_attr_name:
            copy.attribute.add().CopyFrom(a)
        elif a.ref_attr_name in arguments:
            kept = copy.attribute.add()
            kept.CopyFrom(arguments[a.ref_attr_name])
            kept.name = a.name
    return copy


def integer(attributes: Mapping[str, AttributeValue], name: str, default: int, where: str) -> int:
    """An integer attribute.

    Raises:
        ModelUnreadable: the attribute is there and is no integer.

    """
    value = attributes.get(name, default)
    if not isinstance(value, int):
        raise ModelUnreadable(f"{where}: attribute {name!r} is {value!r}, not an integer")
    return value


def integers(attributes: Mapping[str, AttributeValue], name: str, where: str) -> tuple[int, ...] | None:
    """A list of integers, or None where the attribute is absent.

    Raises:
        ModelUnreadable: the attribute is there and is no list of integers.

    """
    value = attributes.get(name)
    if value is None:
        return None
    if not isinstance(value, tuple):
        raise ModelUnreadable(f"{where}: attribute {name!r} is {value!r}, not a list of integers")
    found = tuple(v for v in value if isinstance(v, int))
    if len(found) != len(value):
        raise ModelUnreadable(f"{where}: attribute {name!r} is {value!r}, not a list of integers")
    return found

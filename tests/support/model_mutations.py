"""Mutations of ONNX models that stay protocol buffers: values, names, types and nodes put where others belong. Seeded: a run can be had again.

Bytes disturbed at random are refused by the first reader almost always; what shape inference, folding and fusion do with a sound file of unsound
content is found this way only.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message
from onnx import defs
from support.mutations import disturbed

_INTEGERS: Final = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 4, 7, 8, 13, 16, 17, 64, 255, 1_000, 2**16, 2**29, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
_FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
_NUMBERS: Final[Mapping[int, Sequence[Any]]] = {
    FieldDescriptor.TYPE_FLOAT: _FLOATS,
    FieldDescriptor.TYPE_DOUBLE: _FLOATS,
    FieldDescriptor.TYPE_INT32: (*range(-1, 24), 2**31 - 1, -(2**31)),
    FieldDescriptor.TYPE_UINT64: tuple(abs(number) for number in _INTEGERS),
}
_DOMAINS: Final = ("", "ai.onnx", "com.microsoft", "local", "ai.onnx.ml")
_OPERATORS: Final = tuple(
    sorted({schema.name for schema in defs.get_all_schemas()} | {"FusedMatMul", "FusedConv", "FusedGemm", "MultiHeadAttention", "FastGelu"})
)
_WORDS: Final = ("", "x", "y", "w", "a" * 5_000, "\x00", "linear", "SAME_UPPER", "bhid,bhjd->bhij", "...ij,jk->...ik", "reflect", "bidirectional", "Relu")
_LARGEST: Final = 1 << 14


def mutated_model(data: bytes, rng: random.Random, largest: int = 1 << 20) -> bytes:
    """A mutation of a model: of its fields mostly, of its bytes now and then or where it is no model any more."""
    if len(data) > _LARGEST or rng.random() < 0.15:
        return disturbed(data, rng, largest)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        names = _names(model)
        for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
            _alter(model, rng, names)
        changed: bytes = model.SerializeToString()
    except (DecodeError, EncodeError, UnicodeDecodeError):
        return disturbed(data, rng, largest)
    return changed[:largest]


def _names(model: onnx.ModelProto) -> list[str]:
    """Of tensors that the main graph knows."""
    found = [name for node in model.graph.node for name in (*node.input, *node.output)]
    found += [value.name for value in model.graph.input] + [tensor.name for tensor in model.graph.initializer]
    return found or ["x"]


def _alter(model: onnx.ModelProto, rng: random.Random, names: Sequence[str]) -> None:
    """Changes one field of one message, found by walking down from the graph (or from the model itself)."""
    message: Message = model.graph if rng.random() < 0.9 else model
    while True:
        inner = [child for child in _children(message) if child.ByteSize()]
        if not inner or rng.random() < 0.2:
            break
        message = rng.choice(inner)
    field: Any = rng.choice(message.DESCRIPTOR.fields)
    if rng.random() < 0.5:
        present = [item for item, _ in message.ListFields()]
        field = rng.choice(present) if present else field
    if field.is_repeated:
        _alter_list(getattr(message, field.name), field, rng, names)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        if rng.random() < 0.5:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    elif rng.random() < 0.15:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(message, field, rng, names))


def _children(message: Message) -> list[Any]:
    found: list[Any] = []
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            found.extend(value if field.is_repeated else (value,))
    return found


def _alter_list(items: Any, field: FieldDescriptor, rng: random.Random, names: Sequence[str]) -> None:
    nested = field.type == FieldDescriptor.TYPE_MESSAGE
    match rng.randrange(4):
        case 0 if len(items):
            del items[rng.randrange(len(items))]
        case 1 if len(items) and nested:
            items.add().CopyFrom(rng.choice(items))
        case 1 if len(items):
            items.extend([rng.choice(items)] * rng.choice((1, 1, 2, 20)))
        case 2 if len(items) > 1:
            one, other = rng.sample(range(len(items)), 2)
            if nested:
                items[one].CopyFrom(items[other])
            else:
                items[one], items[other] = items[other], items[one]
        case _ if nested:
            items.add()
        case _:
            value = _value(None, field, rng, names)
            if len(items) and rng.random() < 0.7:
                items[rng.randrange(len(items))] = value
            else:
                items.append(value)


def _value(message: Message | None, field: FieldDescriptor, rng: random.Random, names: Sequence[str]) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _text(field.name, rng, names)
        case FieldDescriptor.TYPE_BYTES:
            held = bytes(getattr(message, field.name)) if message is not None else b""
            return disturbed(held, rng, _LARGEST) if rng.random() < 0.7 else rng.choice(_WORDS).encode()
        case FieldDescriptor.TYPE_ENUM:
            values = field.enum_type.values if field.enum_type is not None else ()
            return rng.choice([item.number for item in values])
        case _:
            return rng.choice(_NUMBERS.get(field.type, _INTEGERS))


def _text(field: str, rng: random.Random, names: Sequence[str]) -> str:
    wanted = {"op_type": _OPERATORS, "domain": _DOMAINS}.get(field)
    return rng.choice(wanted if wanted is not None else names if rng.random() < 0.8 else _WORDS)

"""Equations of Einsum, checked before ONNX reads them: its shape inference (1.23) never returns from one with a strange character among its operands."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import onnx
from google.protobuf.message import DecodeError

from stowplan_predictor.errors import ModelUnreadable
from stowplan_predictor.graphs import strippings
from stowplan_predictor.graphs.limits import Limits

# Labels, commas and whole ellipses, blanks taken out (https://onnx.ai/onnx/operators/onnx__Einsum.html).
_OPERANDS: Final = re.compile(rb"(?:[A-Za-z,]|\.\.\.)*")


def check(onnx_model: bytes | memoryview, limits: Limits) -> None:
    """Passes a model without such an equation; a file that cannot be read passes, too, and is refused by its reader.

    Raises:
        ModelUnreadable: names the equation.
        GraphTooLarge: as `strippings.strip`.
    """
    if re.search(b"Einsum", onnx_model) is None:
        return
    try:
        model = onnx.ModelProto.FromString(strippings.strip(onnx_model, limits))
    except DecodeError:
        return
    attributes = [*_attributes(model.graph.node)]
    for function in model.functions:
        attributes += [*function.attribute_proto, *_attributes(function.node)]
    # A function's equation may come from its caller, under another name.
    names = {"equation"} | {attribute.ref_attr_name for attribute in attributes if attribute.ref_attr_name and attribute.name == "equation"}
    for attribute in attributes:
        operands = attribute.s.replace(b" ", b"").partition(b"->")[0]
        if attribute.name in names and _OPERANDS.fullmatch(operands) is None:
            raise ModelUnreadable(f"model file: {attribute.s[:64]!r} is no equation of an Einsum; write labels, commas, `...` and `->`")


def _attributes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.AttributeProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute
            for graph in (attribute.g, *attribute.graphs):
                yield from _attributes(graph.node)

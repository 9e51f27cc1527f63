"""Model files that want to cost more than they are worth, written byte by byte where ONNX's own helpers would take minutes."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

_GRAPH: Final = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_NODE: Final = onnx.GraphProto.DESCRIPTOR.fields_by_name["node"].number
_ATTRIBUTE: Final = onnx.NodeProto.DESCRIPTOR.fields_by_name["attribute"].number
_SUBGRAPH: Final = onnx.AttributeProto.DESCRIPTOR.fields_by_name["g"].number


def _delimited(number: int, content: bytes) -> bytes:
    out, length = bytearray([number << 3 | 2]), len(content)
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(out) + bytes([length]) + content


def _model(nodes: bytes, outputs: tuple[str, ...] = ("y",), functions: tuple[onnx.FunctionProto, ...] = (), shape: tuple[int, ...] = (4,)) -> bytes:
    """A model around encoded nodes, with an input x of that shape."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    rest = helper.make_graph([], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], values)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    around = onnx.ModelProto(ir_version=9, opset_import=imports, functions=functions)
    return bytes(around.SerializeToString()) + _delimited(_GRAPH, nodes + rest.SerializeToString())


def _encoded(*nodes: NodeProto) -> bytes:
    return b"".join(_delimited(_NODE, node.SerializeToString()) for node in nodes)


def chain(count: int) -> bytes:
    """So many element-wise operators, one after the other."""
    parts = []
    for index in range(count):
        source, target = (b"%d" % (index - 1) if index else b"x"), (b"y" if index == count - 1 else b"%d" % index)
        node = b"\x0a" + bytes([len(source)]) + source + b"\x12" + bytes([len(target)]) + target + b"\x22\x03Exp"
        parts.append(bytes([_NODE << 3 | 2, len(node)]) + node)
    return _model(b"".join(parts))


def million_nodes() -> bytes:
    """10^6 nodes, none with a name."""
    return _model(_encoded(helper.make_node("Exp", ["x"], ["y"])) * 10**6)


def cycle(count: int = 10_000) -> bytes:
    """Everyone waits for everyone."""
    nodes = [helper.make_node("Add", ["x", f"t{(index + 1) % count}"], [f"t{index}"]) for index in range(count)]
    return _model(_encoded(*nodes), ("t0",))


def vast_shape() -> bytes:
    """An input of 10^18 elements."""
    return _model(_encoded(helper.make_node("Exp", ["x"], ["y"])), shape=(10**9, 10**9))


def vast_expansion() -> bytes:
    """One element stretched to 10^18."""
    target = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([10**9, 10**9])))
    return _model(_encoded(target, helper.make_node("Expand", ["x", "s"], ["y"])), shape=(1,))


def vast_initializer() -> bytes:
    """A weight that says it has 10^18 elements and brings none."""
    weight = TensorProto(name="w", dims=[10**9, 10**9], data_type=TensorProto.FLOAT)
    node = helper.make_node("Add", ["x", "c"], ["y"])
    return _model(_encoded(helper.make_node("Constant", [], ["c"], value=weight), node))


def deep_branches(depth: int) -> bytes:
    """If inside If, so many levels deep, all decided."""

    def branch(content: bytes, output: str) -> bytes:
        ending = helper.make_graph([], "b", [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])
        return content + bytes(ending.SerializeToString())

    def attribute(name: str, graph: bytes) -> bytes:
        kind = onnx.AttributeProto(name=name, type=onnx.AttributeProto.GRAPH).SerializeToString()
        return _delimited(_ATTRIBUTE, kind + _delimited(_SUBGRAPH, graph))

    inner = branch(_encoded(helper.make_node("Exp", ["x"], ["b0"])), "b0")
    for level in range(1, depth + 1):
        output = "y" if level == depth else f"b{level}"
        node = helper.make_node("If", ["yes"], [output]).SerializeToString() + attribute("then_branch", inner) + attribute("else_branch", b"")
        inner = branch(_delimited(_NODE, node), output)
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    return _model(_encoded(yes) + _delimited(_NODE, node))


def folding_bomb(count: int = 4_000) -> bytes:
    """A few bytes a node, 128 KiB a computed constant."""
    size = helper.make_node("Constant", [], ["n"], value=numpy_helper.from_array(np.array([16 * 1024])))
    fill = numpy_helper.from_array(np.array([1], np.int64))
    nodes = [helper.make_node("ConstantOfShape", ["n"], [f"c{index}"], value=fill) for index in range(count)]
    total = helper.make_node("Sum", [f"c{index}" for index in range(count)], ["y"])
    return _model(_encoded(size, *nodes, total))


def endless(kind: str) -> bytes:
    """A Loop or Scan whose body never ends."""
    flag = helper.make_tensor_value_info("more", TensorProto.BOOL, ())
    body = helper.make_graph([helper.make_node("Identity", ["in"], ["more"])], "body", [helper.make_tensor_value_info("in", TensorProto.BOOL, ())], [flag])
    arguments: dict[str, Any] = {"body": body} | ({"num_scan_inputs": 1} if kind == "Scan" else {})
    return _model(_encoded(helper.make_node(kind, ["x"], ["y"], **arguments)))


def long_name(size: int = 8 << 20) -> bytes:
    """A name of megabytes."""
    return _model(_encoded(helper.make_node("Exp", ["x"], ["y"], name="n" * size)))


def many_outputs(count: int = 3_000_000) -> bytes:
    """One node that writes millions of tensors."""
    node = b"\x0a\x01x" + b"\x12\x01y" * count + b"\x22\x05Split"
    return _model(_delimited(_NODE, node))


def _function(name: str, *nodes: NodeProto) -> onnx.FunctionProto:
    return helper.make_function("local", name, ["x"], ["y"], list(nodes), [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])


def _calls(name: str, count: int) -> bytes:
    names = ["x", *(f"t{index}" for index in range(count - 1)), "y"]
    return _encoded(*(helper.make_node(name, [a], [b], domain="local") for a, b in pairwise(names)))


def heavy_function(calls: int = 5_000) -> bytes:
    """A function with an attribute of a megabyte, called thousands of times."""
    body = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft", padding="x" * (1 << 20))
    return _model(_calls("F", calls), functions=(_function("F", body),))


def hidden_branch(calls: int = 5_000, hidden: int = 5_000) -> bytes:
    """A function whose branch that never runs holds thousands of nodes, looked at in each of thousands of calls."""
    other = helper.make_graph([helper.make_node("Exp", ["x"], [f"h{index}"]) for index in range(hidden)], "e", [], [])
    taken = helper.make_graph([helper.make_node("Exp", ["x"], ["b"])], "t", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    return _model(_calls("F", calls), functions=(_function("F", yes, helper.make_node("If", ["yes"], ["y"], then_branch=taken, else_branch=other)),))


def weighted(size_bytes: int) -> bytes:
    """An honest model with weights of that size."""
    columns = size_bytes // (4 * 1024)
    weight = numpy_helper.from_array(np.zeros((1024, columns), np.float32), "w")
    return _model(_encoded(helper.make_node("Constant", [], ["w"], value=weight), helper.make_node("MatMul", ["x", "w"], ["y"])), shape=(1, 1024))


# By name: the file, and the name of the error that must refuse it.
HOSTILE: Final[Mapping[str, tuple[Callable[[], bytes], str]]] = {
    "a million nodes": (million_nodes, "GraphTooLarge"),
    "more nodes than allowed": (lambda: chain(110_000), "GraphTooLarge"),
    "a cycle": (cycle, "ModelUnreadable"),
    "an input of 10^18 elements": (vast_shape, "ShapeRefused"),
    "an expansion to 10^18 elements": (vast_expansion, "ShapeRefused"),
    "an initializer of 10^18 elements": (vast_initializer, "ShapeRefused"),
    "branches nested too deep": (lambda: deep_branches(20), "GraphTooLarge"),
    "branches nested deeper than messages may": (lambda: deep_branches(60), "ModelUnreadable"),
    "branches nested beyond any stack": (lambda: deep_branches(2_000), "ModelUnreadable"),
    "exploding constants": (folding_bomb, "GraphTooLarge"),
    "an endless loop": (lambda: endless("Loop"), "OperatorUnknown"),
    "an endless scan": (lambda: endless("Scan"), "OperatorUnknown"),
    "a name of megabytes": (long_name, "GraphTooLarge"),
    "millions of outputs": (many_outputs, "GraphTooLarge"),
    "a heavy function": (heavy_function, "GraphTooLarge"),
    "a hidden branch": (hidden_branch, "GraphTooLarge"),
}

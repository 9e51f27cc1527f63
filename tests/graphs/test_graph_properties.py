"""What holds for every graph: FLOPs equal an independent formula, names and weights do not matter, shapes and attributes do, damage is refused by name."""

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from stowplan_fleet.errors import GraphRefused
from stowplan_predictor.graphs.loading import load_graph
from support.onnx_models import model, zeros

_widths = st.lists(st.integers(1, 33), min_size=2, max_size=6)
_layers = st.lists(st.tuples(st.integers(1, 8), st.sampled_from([1, 3, 5]), st.sampled_from([1, 2])), min_size=1, max_size=5)


def _mlp(batch: int, widths: Sequence[int]) -> onnx.ModelProto:
    nodes, constants, flowing = [], {}, "x"
    for i, (a, b) in enumerate(pairwise(widths)):
        constants[f"w{i}"], constants[f"b{i}"] = zeros(a, b), zeros(b)
        nodes += [helper.make_node("Gemm", [flowing, f"w{i}", f"b{i}"], [f"g{i}"]), helper.make_node("Relu", [f"g{i}"], [f"r{i}"])]
        flowing = f"r{i}"
    return model(nodes, {"x": (batch, widths[0])}, [flowing], constants)


def _cnn(side: int, layers: Sequence[tuple[int, int, int]]) -> onnx.ModelProto:
    nodes, constants, flowing, channels = [], {}, "x", 3
    for i, (width, kernel, stride) in enumerate(layers):
        constants[f"w{i}"] = zeros(width, channels, kernel, kernel)
        nodes += [
            helper.make_node("Conv", [flowing, f"w{i}"], [f"c{i}"], strides=[stride] * 2, pads=[kernel // 2] * 4),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
        ]
        flowing, channels = f"r{i}", width
    return model(nodes, {"x": (1, 3, side, side)}, [flowing], constants)


@given(st.integers(1, 9), _widths)
@settings(deadline=None, max_examples=40)
def test_flops_and_parameters_of_a_perceptron(batch: int, widths: list[int]) -> None:
    """Each layer multiplies, adds a bias and rectifies."""
    pairs = list(pairwise(widths))

    graph = load_graph(_mlp(batch, widths).SerializeToString())

    assert sum(batch * (2 * a * b + 2 * b) for a, b in pairs) == graph.flops
    assert sum(a * b + b for a, b in pairs) == graph.parameters


@given(st.integers(4, 40), _layers)
@settings(deadline=None, max_examples=40)
def test_flops_of_a_convolutional_network(side: int, layers: list[tuple[int, int, int]]) -> None:
    """Same padding and strides shrink the image by rounding up; each output meets channels x kernel weights and one rectifier."""
    expected, channels, size = 0, 3, side
    for width, kernel, stride in layers:
        size = -(-size // stride)
        expected += width * size * size * (2 * channels * kernel * kernel + 1)
        channels = width

    assert expected == load_graph(_cnn(side, layers).SerializeToString()).flops


def _renamed(proto: onnx.ModelProto, salt: str) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    for node in graph.node:
        node.name = f"{salt}{node.name}"
        node.doc_string = salt
        node.input[:] = [f"{salt}/{name}" for name in node.input]
        node.output[:] = [f"{salt}/{name}" for name in node.output]
    for named in (*graph.input, *graph.output, *graph.initializer):
        named.name = f"{salt}/{named.name}"
    graph.name = salt
    return copy


@given(st.integers(4, 20), _layers, st.text("abcxyz0189", min_size=1, max_size=8), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_digest_does_not_see_names_or_weights(side: int, layers: list[tuple[int, int, int]], salt: str, seed: int) -> None:
    """Renaming every tensor and node, and changing every weight, leaves the digest alone."""
    proto = _cnn(side, layers)
    before = load_graph(proto.SerializeToString()).digest
    random = np.random.default_rng(seed)
    changed = _renamed(proto, salt)
    for tensor in changed.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(random.standard_normal(tuple(tensor.dims)).astype(np.float32), tensor.name))

    assert before == load_graph(changed.SerializeToString()).digest


@given(st.integers(4, 20), _layers, st.data())
@settings(deadline=None, max_examples=30)
def test_digest_sees_shapes_and_attributes(side: int, layers: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """A wider layer, another stride or a larger image is another graph."""
    before = load_graph(_cnn(side, layers).SerializeToString()).digest
    at = data.draw(st.integers(0, len(layers) - 1))
    width, kernel, stride = layers[at]
    for changed in ((width + 1, kernel, stride), (width, kernel + 2, stride), (width, kernel, 3 - stride)):
        assert before != load_graph(_cnn(side, [*layers[:at], changed, *layers[at + 1 :]]).SerializeToString()).digest

    assert before != load_graph(_cnn(side + 1, layers).SerializeToString()).digest


_VICTIMS = [_mlp(2, [3, 4, 5]).SerializeToString(), _cnn(8, [(4, 3, 2), (2, 1, 1)]).SerializeToString()]
_edits = st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(["set", "cut", "add"]), st.binary(min_size=1, max_size=6)), min_size=1, max_size=8)


@given(st.sampled_from(_VICTIMS), _edits)
@settings(deadline=None, max_examples=300)
def test_damaged_files_are_refused_by_name_and_soon(victim: bytes, edits: list[tuple[int, str, bytes]]) -> None:
    """Whatever bytes change: a graph or a refusal, in bounded time, and no other exception."""
    content = bytearray(victim)
    for place, kind, chunk in edits:
        at = place % (len(content) + 1)
        if kind == "add":
            content[at:at] = chunk
        elif kind == "cut":
            del content[at : at + len(chunk)]
        else:
            content[at : at + len(chunk)] = chunk
    start = time.process_time()
    with suppress(GraphRefused):
        load_graph(bytes(content))

    # Healthy, these load in a few milliseconds; a thousandfold means that a size in the file drives the work.
    assert time.process_time() - start < 5

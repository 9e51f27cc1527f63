"""Anchor kernels: twenty graphs of one kernel each, from whose times a bundle is adapted to another machine.

They span what networks spend their time in: convolutions of each sort and matrix products (bound by arithmetic), normalizations, poolings, additions and
transposes (bound by memory), each from well inside the caches to well beyond, and each some milliseconds at most on a core of today.
"""

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from stowplan_predictor.training.generated.builders import Blueprint, GraphBuilder

_Draw = Callable[[GraphBuilder], str]


def _conv(channels: int, following: int, window: int, groups: int = 1, stride: int = 1) -> _Draw:
    def draw(b: GraphBuilder) -> str:
        weight, bias = b.weight(following, channels // groups, window, window), b.weight(following)
        pads, strides = [window // 2] * 4, [stride] * 2
        last: str = b.node("Conv", ["input", weight, bias], kernel_shape=[window] * 2, group=groups, pads=pads, strides=strides)
        return last

    return draw


def _gemm(inner: int, columns: int) -> _Draw:
    return lambda b: b.node("Gemm", ["input", b.weight(columns, inner), b.weight(columns)], transB=1)


def _product(b: GraphBuilder) -> str:
    last: str = b.node("MatMul", ["input", b.node("Transpose", ["input"], perm=[0, 2, 1])])
    return last


def _normalization(columns: int) -> _Draw:
    return lambda b: b.node("LayerNormalization", ["input", b.weight(columns, positive=True), b.weight(columns)], axis=-1)


def _unary(op_type: str, **attributes: object) -> _Draw:
    return lambda b: b.node(op_type, ["input"], **attributes)


def _addition(b: GraphBuilder) -> str:
    last: str = b.node("Add", ["input", b.node("Relu", ["input"])])
    return last


_ANCHORS: Final[Mapping[str, tuple[tuple[int, ...], _Draw]]] = MappingProxyType({
    "conv3-64-56": ((1, 64, 56, 56), _conv(64, 64, 3)),
    "conv3-256-14": ((1, 256, 14, 14), _conv(256, 256, 3)),
    "conv7-3-224": ((1, 3, 224, 224), _conv(3, 64, 7, stride=2)),
    "conv1-64-56": ((1, 64, 56, 56), _conv(64, 256, 1)),
    "conv1-512-14": ((1, 512, 14, 14), _conv(512, 256, 1)),
    "conv1-1024-7": ((1, 1024, 7, 7), _conv(1024, 1024, 1)),
    "depthwise3-64-112": ((1, 64, 112, 112), _conv(64, 64, 3, groups=64)),
    "depthwise3-384-14": ((1, 384, 14, 14), _conv(384, 384, 3, groups=384)),
    "depthwise7-96-56": ((1, 96, 56, 56), _conv(96, 96, 7, groups=96)),
    "grouped3-128-28": ((1, 128, 28, 28), _conv(128, 128, 3, groups=8)),
    "gemm-1-2048": ((1, 2048), _gemm(2048, 1000)),
    "gemm-196-768": ((196, 768), _gemm(768, 3072)),
    "gemm-197-384": ((197, 384), _gemm(384, 384)),
    "matmul-12-197": ((12, 197, 64), _product),
    "softmax-12-197": ((12, 197, 197), _unary("Softmax", axis=-1)),
    "normalization-196-768": ((1, 196, 768), _normalization(768)),
    "normalization-3136-96": ((1, 3136, 96), _normalization(96)),
    "maxpool-64-112": ((1, 64, 112, 112), _unary("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    "addition-256-56": ((1, 256, 56, 56), _addition),
    "transpose-96-56": ((1, 56, 56, 96), _unary("Transpose", perm=[0, 3, 1, 2])),
})  # fmt: skip
NAMES: Final = tuple(_ANCHORS)


def blueprint(name: str) -> Blueprint:
    """An anchor as a graph that can be written down, with weights or without."""
    shape, draw = _ANCHORS[name]
    builder = GraphBuilder(random.Random(0))
    last = draw(builder)
    ranks = {"Gemm": 2, "MatMul": 3, "Softmax": 3, "LayerNormalization": 3}
    rank = ranks.get(builder.nodes[-1].op_type, 4)
    return Blueprint(
        name, {"input": shape}, {last: rank}, tuple(builder.nodes), dict(builder.weights), {k: np.asarray(v) for k, v in builder.constants.items()}
    )

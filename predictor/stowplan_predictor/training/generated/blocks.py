"""Blocks of random convolutional networks: plain, residual, separable and branching, as published families build them; every size drawn."""

import random
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from stowplan_predictor.training.generated.builders import GraphBuilder

# Channels of families that do not take powers of two.
_CHANNELS: Final = (8, 12, 16, 24, 32, 40, 48, 64, 72, 80, 96, 112, 128, 144, 160, 192, 240, 256, 320, 384, 480, 512, 576, 672, 768, 960)
_LARGEST_POWER: Final = 10
_KERNELS: Final = (1, 3, 3, 3, 5, 7)


class Grown:
    """A convolutional network as far as it is drawn: its last value (batch, channels, size, size), and what it costs until there."""

    def __init__(self, choose: random.Random, input_shape: tuple[int, ...], activation: str, *, normalised: bool) -> None:
        self.choose, self.input_shape, self.activation, self.normalised = choose, input_shape, activation, normalised
        self.builder = GraphBuilder(choose)
        self.value = "input"
        self.batch, self.channels, self.size = input_shape[:3]
        self.rank = len(input_shape)
        self.flops = self.bytes = self.parameters = 0

    def width(self) -> int:
        """Channels of the next layer."""
        return self.choose.choice(_CHANNELS)

    def stride(self) -> int:
        """2 now and then, where there is something left to halve."""
        return self.choose.choice((1, 1, 2)) if self.size >= 8 else 1

    def count(self, flops: int, elements: int, parameters: int = 0) -> None:
        """Adds an operator's work to the cost."""
        self.flops += flops
        self.bytes += 4 * (elements + parameters)
        self.parameters += parameters

    def convolve(self, channels: int, kernel: int, stride: int = 1, groups: int = 1, *, activated: bool = True) -> None:
        """A convolution with its bias or normalization, and its activation."""
        b, inner = self.builder, self.channels // groups
        weights = [b.weight(channels, inner, kernel, kernel)]
        if not self.normalised:
            weights.append(b.weight(channels))
        value = b.node("Conv", [self.value, *weights], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
        if self.normalised:
            scale, shift, mean, variance = b.weight(channels), b.weight(channels), b.weight(channels), b.weight(channels, positive=True)
            value = b.node("BatchNormalization", [value, scale, shift, mean, variance])
        before = self.batch * self.channels * self.size**2
        self.size = (self.size + 2 * (kernel // 2) - kernel) // stride + 1
        after = self.batch * channels * self.size**2
        self.count(2 * after * inner * kernel**2, before + after, channels * inner * kernel**2 + channels)
        self.value, self.channels = value, channels
        if activated:
            self.activate()

    def activate(self) -> None:
        """The network's activation."""
        value = self.builder.activate(self.value, self.activation)
        if value != self.value and self.activation not in ("Relu", "LeakyRelu"):
            self.count(0, 4 * self.elements)
        self.value = value

    @property
    def elements(self) -> int:
        """Of the last value."""
        return self.batch * self.channels * self.size**2

    def pool(self, kind: str, stride: int) -> None:
        """A 3 x 3 pooling."""
        self.value = self.builder.node(kind, [self.value], kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4)
        before, self.size = self.elements, (self.size - 1) // stride + 1
        self.count(9 * self.elements, before + self.elements)

    def squeeze(self) -> None:
        """Squeeze and excitation: a gate a channel."""
        b, value, channels, size = self.builder, self.value, self.channels, self.size
        less = max(4, channels // 4)
        gate = b.node("GlobalAveragePool", [value])
        gate = b.node("Relu", [b.node("Conv", [gate, b.weight(less, channels, 1, 1), b.weight(less)], kernel_shape=[1, 1])])
        gate = b.node("Sigmoid", [b.node("Conv", [gate, b.weight(channels, less, 1, 1), b.weight(channels)], kernel_shape=[1, 1])])
        self.value = b.node("Mul", [value, gate])
        self.count(4 * self.batch * channels * less, 3 * self.batch * channels * size**2, 2 * channels * less)

    def add(self, other: str) -> None:
        """A skip connection."""
        self.value = self.builder.node("Add", [self.value, other])
        self.count(self.elements, 3 * self.elements)
        self.activate()

    def headed(self) -> str:
        """The classifier, or none; returns the network's output."""
        head = self.choose.choice(("pooled", "pooled", "averaged", "none"))
        if head == "none":
            return self.value
        value = self.builder.node("GlobalAveragePool", [self.value])
        if head == "averaged":
            return value
        classes = self.choose.choice((10, 100, 1000))
        self.count(2 * self.batch * self.channels * classes, self.elements, self.channels * classes + classes)
        flat, self.rank = self.builder.node("Flatten", [value]), 2
        return self.builder.node("Gemm", [flat, self.builder.weight(classes, self.channels), self.builder.weight(classes)], transB=1)


def plain(g: Grown) -> None:
    """A convolution, as in the paper's plain networks (channels a power of two); sometimes a pooling."""
    g.convolve(1 << g.choose.randint(0, _LARGEST_POWER), g.choose.choice(_KERNELS), g.stride())
    if g.size >= 8 and g.choose.random() < 0.25:
        g.pool(g.choose.choice(("MaxPool", "AveragePool")), 2)


def residual(g: Grown) -> None:
    """A basic or a bottleneck block around a skip connection, with a projection where shapes change."""
    start, channels, size = g.value, g.channels, g.size
    stride = g.stride()
    following = g.width() if stride == 2 or g.choose.random() < 0.4 else channels
    if g.choose.random() < 0.5:
        g.convolve(following, 3, stride)
        g.convolve(following, 3, activated=False)
    else:
        inner = max(4, following // 4)
        groups = g.choose.choice((1, 1, 4)) if inner % 4 == 0 else 1
        g.convolve(inner, 1)
        g.convolve(inner, 3, stride, groups)
        g.convolve(following, 1, activated=False)
    if (channels, size) == (g.channels, g.size):
        g.add(start)
        return
    long, long_channels, long_size = g.value, g.channels, g.size
    g.value, g.channels, g.size = start, channels, size
    g.convolve(long_channels, 1, stride, activated=False)
    assert g.size == long_size  # noqa: S101 - both strides halve alike
    g.add(long)


def separable(g: Grown) -> None:
    """A depthwise convolution and a pointwise one, plain or as an inverted residual, sometimes gated."""
    start, channels, stride, kernel = g.value, g.channels, g.stride(), g.choose.choice((3, 3, 5, 7))
    inverted = g.choose.random() < 0.5
    following = g.width() if stride == 2 or g.choose.random() < 0.5 else channels
    if inverted:
        g.convolve(channels * g.choose.choice((2, 3, 4, 6)), 1)
    g.convolve(g.channels, kernel, stride, g.channels)
    if g.choose.random() < 0.25:
        g.squeeze()
    g.convolve(following, 1, activated=not inverted)
    if inverted and stride == 1 and following == channels:
        g.value = g.builder.node("Add", [g.value, start])
        g.count(g.elements, 3 * g.elements)


def branching(g: Grown) -> None:
    """Branches that are concatenated: of several kernels, of a growing width, or of shuffled halves."""
    match g.choose.choice(("kernels", "kernels", "growing", "shuffled")):
        case "kernels":
            _kernels(g)
        case "growing":
            _growing(g)
        case _:
            _shuffled(g)


def _kernels(g: Grown) -> None:
    start, channels, size, stride = g.value, g.channels, g.size, g.stride()
    ends, total = [], 0
    for kernel in g.choose.sample((1, 3, 5, 7, 0), g.choose.randint(2, 4)):
        g.value, g.channels, g.size = start, channels, size
        width = max(4, g.width() // 4)
        if kernel == 0:
            g.pool("MaxPool", stride)
            g.convolve(width, 1)
        elif kernel == 1:
            g.convolve(width, 1, stride)
        else:
            g.convolve(max(4, width // 2), 1)
            g.convolve(width, kernel, stride)
        ends.append(g.value)
        total += g.channels
    g.value, g.channels = g.builder.node("Concat", ends, axis=1), total
    g.count(0, 2 * g.elements)


def _growing(g: Grown) -> None:
    for _ in range(g.choose.randint(2, 3)):
        start, channels = g.value, g.channels
        growth = g.choose.choice((8, 12, 16, 24, 32, 48))
        g.convolve(4 * growth, 1)
        g.convolve(growth, 3)
        g.value, g.channels = g.builder.node("Concat", [start, g.value], axis=1), channels + growth
        g.count(0, 2 * g.elements)


def _shuffled(g: Grown) -> None:
    if g.channels % 2 or g.channels < 8:
        g.convolve(g.width(), 1)
    b, half = g.builder, g.channels // 2
    kept, g.value = b.nodes_of("Split", [g.value, b.constant(np.array([half, half], np.int64))], 2, axis=1)
    g.channels = half
    g.convolve(half, 1)
    g.convolve(half, 3, 1, half, activated=False)
    g.convolve(half, 1)
    g.value, g.channels = b.node("Concat", [kept, g.value], axis=1), 2 * half
    whole = [g.batch, g.channels, g.size, g.size]
    apart = b.node("Reshape", [g.value, b.constant(np.array([g.batch, 2, half, g.size, g.size], np.int64))])
    g.value = b.node("Reshape", [b.node("Transpose", [apart], perm=[0, 2, 1, 3, 4]), b.constant(np.array(whole, np.int64))])
    g.count(0, 6 * g.elements)


FORMS: Final[Mapping[str, Callable[[Grown], None]]] = {"plain": plain, "residual": residual, "separable": separable, "branching": branching}

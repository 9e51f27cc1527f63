"""Kernels measured alone that no network gave: configurations that published networks hold rarely or not at all.

Cuts of networks (`isolated_cuts`) repeat what those networks hold: one dilation, one way to resize. A model that shares a type between all of its
configurations then knows one of them. These kernels vary what the cuts leave alone: modes and factors of resizing, dilations, axes, pointwise products on a
single pixel, operators of few networks. They belong to no family, and to no network that is judged: they teach in every fold.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.errors import GraphRefused

from stowplan_predictor.fusion import rules
from stowplan_predictor.graphs import loading
from stowplan_predictor.training.campaigns import isolated_cuts, rare_configurations
from stowplan_predictor.training.generated.builders import Node
from stowplan_predictor.training.generated.single_kernels import Input, Spec

SOURCE: Final = "isolated_lists: configurations that published networks hold rarely or not at all"
Shape = tuple[int, ...]


def _alone(
    op_type: str,
    inputs: Sequence[Shape],
    weights: Sequence[Shape] = (),
    *,
    constants: Mapping[int, NDArray[Any]] | None = None,
    follow: tuple[str, Mapping[str, Any]] | None = None,
    rank: int | None = None,
    **attributes: Any,  # noqa: ANN401 - ONNX attributes
) -> Spec:
    """A spec of one operator, and perhaps one that melts into it; constants by the position at which they are read."""
    names = [f"t{number}" for number in range(len(inputs) + len(weights))]
    fixed = {f"c{position}": array for position, array in (constants or {}).items()}
    operands = [*names, *([""] * 8)]
    for position in constants or {}:
        operands[position] = f"c{position}"
    while operands and not operands[-1]:
        operands.pop()
    nodes = [Node(f"{op_type}_0", op_type, tuple(operands), ("r0",), attributes)]
    if follow is not None:
        nodes.append(Node(f"{follow[0]}_1", follow[0], ("r0",), ("r1",), follow[1]))
    activations = {name: Input(shape, integer=False) for name, shape in zip(names, inputs, strict=False)}
    parameters = dict(zip(names[len(inputs) :], weights, strict=True))
    return Spec("", "", "", tuple(nodes), activations, parameters, fixed, {nodes[-1].outputs[0]: len(inputs[0]) if rank is None else rank})


def _resizes() -> Iterator[Spec]:
    for number, (channels, before, after) in enumerate(rare_configurations.RESIZES):
        for mode, transformation in rare_configurations.RESIZE_WAYS:
            batch = 2 if number % 6 == 5 else 1
            ways: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": transformation, "nearest_mode": "floor", "cubic_coeff_a": -0.75}
            # Exporters write factors or sizes, and both are met.
            if number % 2 and mode != "cubic":
                wanted = {2: np.array([1, 1, after / before, after / before], np.float32)}
            else:
                wanted = {3: np.array([batch, channels, after, after], np.int64)}
            yield _alone("Resize", [(batch, channels, before, before)], constants=wanted, **ways)


def _convolutions() -> Iterator[Spec]:
    fields: dict[str, Any]
    for read, written, side, dilation in rare_configurations.DILATED:
        fields = {"kernel_shape": [3, 3], "dilations": [dilation] * 2, "pads": [dilation] * 4, "strides": [1, 1], "group": 1}
        yield _alone("Conv", [(1, read, side, side)], [(written, read, 3, 3), (written,)], follow=("Relu", {}), **fields)
        yield _alone("Conv", [(1, read, side, side)], [(written, read, 3, 3), (written,)], **fields)
    for channels, side, dilation in rare_configurations.DILATED_DEPTHWISE:
        window = 5 if channels > 600 else 3
        pads = dilation * (window // 2)
        fields = {"kernel_shape": [window] * 2, "dilations": [dilation] * 2, "pads": [pads] * 4, "strides": [1, 1], "group": channels}
        yield _alone("Conv", [(1, channels, side, side)], [(channels, 1, window, window), (channels,)], **fields)
    one: dict[str, Any] = {"kernel_shape": [1, 1], "dilations": [1, 1], "pads": [0] * 4, "strides": [1, 1], "group": 1}
    for wide, narrow in rare_configurations.SQUEEZES:
        yield _alone("Conv", [(1, wide, 1, 1)], [(narrow, wide, 1, 1), (narrow,)], follow=("Relu", {}), **one)
        yield _alone("Conv", [(1, narrow, 1, 1)], [(wide, narrow, 1, 1), (wide,)], follow=("Sigmoid", {}), **one)
        yield _alone("Conv", [(1, narrow, 1, 1)], [(wide, narrow, 1, 1), (wide,)], **one)
    for read, written, window, stride, side in rare_configurations.TRANSPOSED:
        pads = (window - stride) // 2
        fields = {"kernel_shape": [window] * 2, "strides": [stride] * 2, "pads": [pads] * 4, "dilations": [1, 1], "group": 1}
        yield _alone("ConvTranspose", [(1, read, side, side)], [(read, written, window, window), (written,)], **fields)


def _normalizations() -> Iterator[Spec]:
    for shape, axis in rare_configurations.AXES:
        yield _alone("Softmax", [shape], axis=axis)
        yield _alone("LogSoftmax", [shape], axis=axis)
        yield _alone("ReduceMean", [shape], axes=[axis], keepdims=1)
        yield _alone("ReduceL2", [shape], axes=[axis], keepdims=1)
        yield _alone("ReduceMax", [shape], axes=[axis], keepdims=1)
    for shape in (*rare_configurations.MAPS, (1, 64, 55, 55), (1, 192, 27, 27), (1, 96, 54, 54), (1, 256, 13, 13)):
        yield _alone("LRN", [shape], size=5, alpha=1e-4, beta=0.75, bias=1.0)
        yield _alone("InstanceNormalization", [shape], [(shape[1],), (shape[1],)], epsilon=1e-5)
        yield _alone("LpNormalization", [shape], axis=1, p=2)
    for shape in rare_configurations.TOKENS:
        yield _alone("LpNormalization", [shape], axis=-1, p=2)
        yield _alone("CumSum", [shape], constants={1: np.array(1, np.int64)})


def _pointwise() -> Iterator[Spec]:
    for number, op_type in enumerate(rare_configurations.UNARY):
        for shape in (rare_configurations.MAPS[number % 6], rare_configurations.MAPS[(number + 3) % 6], rare_configurations.TOKENS[number % 5]):
            yield _alone(op_type, [shape])
    for shape in rare_configurations.MAPS:
        yield _alone("Mul", [shape, (*shape[:2], 1, 1)])
        yield _alone("Mul", [shape, (shape[0], 1, *shape[2:])])
        yield _alone("Add", [shape, (*shape[:2], 1, 1)])
        yield _alone("PRelu", [shape], [(shape[1], 1, 1)])
        for count in (2, 3, 4):
            yield _alone("Sum", [shape] * count)
        yield _alone("Max", [shape] * 2)
        yield _alone("Mean", [shape] * 3)
        yield _alone("Pow", [shape], constants={1: np.array(2.0, np.float32)})
        yield _alone("Tile", [shape], constants={1: np.array([1, 1, 2, 1], np.int64)})
    for equation, first, second in rare_configurations.EINSUMS:
        yield _alone("Einsum", [first, second], rank=len(equation.split("->")[1]), equation=equation)


def _rearrangements() -> Iterator[Spec]:
    fields: dict[str, Any]
    for window, stride, shape in rare_configurations.POOLS:
        pads = 0 if stride == window else window // 2
        fields = {"kernel_shape": [window] * 2, "strides": [stride] * 2, "pads": [pads] * 4}
        yield _alone("MaxPool", [shape], **fields)
        yield _alone("AveragePool", [shape], count_include_pad=1, **fields)
    for shape in rare_configurations.MAPS:
        yield _alone("DepthToSpace", [shape], blocksize=2, mode="CRD")
        if shape[2] % 2 == 0:
            yield _alone("SpaceToDepth", [shape], blocksize=2)
        yield _alone("GlobalMaxPool", [shape])
        yield _alone("Pad", [shape], constants={1: np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)}, mode="reflect")


def drawn() -> tuple[tuple[Spec, ...], ...]:
    """Every listed kernel, of no type yet, by what is varied: resizing, convolutions, normalizations, element by element, rearrangements."""
    return tuple(tuple(draw()) for draw in (_resizes, _convolutions, _normalizations, _pointwise, _rearrangements))


def typed(spec: Spec) -> Spec | None:
    """The kernel with its type; None where our fusion makes several of it, it is too large to be measured alone, or the runtime refuses it."""
    try:
        kernels = rules.fuse(loading.load_graph(spec.blueprint().structure()))
    except GraphRefused:
        return None
    if len(kernels) != 1:
        return None
    found = replace(spec, kernel=str(kernels[0].type))
    return found if isolated_cuts.is_alone(found) and isolated_cuts.runs(found) else None


def specs() -> tuple[Spec, ...]:
    """Every listed kernel that can be measured alone, evenly mixed, so that a campaign that is cut short has a bit of all."""
    queues = [[found for found in map(typed, own) if found is not None] for own in drawn()]
    placed = [((place + 0.5) / len(queue), number, found) for number, queue in enumerate(queues) for place, found in enumerate(queue)]
    return tuple(found for _, _, found in sorted(placed, key=lambda item: item[:2]))

"""ATen operators with their shapes as tasks: the kinds and numbers that public measurements name kernels by (`gpus.tasks`)."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.gpus.tasks import BATCHED, CONVOLUTION, LINEAR

_ITEM: Final = 4.0
_INTEGERS: Final = re.compile(r"-?\d+")
_UNARY: Final = {"relu": "relu", "gelu": "gelu", "tanh": "tanh"}
_BINARY: Final = {"add": "add", "div": "div", "mul": "mul", "pow": "pow"}
# Operations an element, as the served code counts them (`graphs.pointwise_flops`); one for all others.
_OPERATIONS: Final = {"gelu": 5.0, "softmax": 5.0, "ln": 7.0}

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """An operator, and what it was given."""

    name: str
    """Without namespace, overload and the mark of working in place: `conv2d`, `addmm`."""
    shapes: tuple[Shape, ...]
    """Of the tensors among its arguments."""
    values: tuple[str, ...]
    """The other arguments, in order, as they are written."""


@dataclass(frozen=True, slots=True)
class Task:
    """A call as a kernel of the bundle."""

    kind: str
    numbers: tuple[float, ...]
    """As `gpus.tasks.COLUMNS`."""
    measured: bool
    """True where the public tables have that form."""


def plain(target: str) -> str:
    """`aten.add_.Tensor` and `aten::add_` are `add`."""
    name = target.removeprefix("aten::").removeprefix("aten.").split(".")[0]
    return name.removesuffix("_") if not name.startswith("_") else name.removeprefix("_").removesuffix("_")


def task_of(call: Call) -> Task | None:
    """The task, or None where it is none that a bundle of GPUs has a model for."""
    if not call.shapes or any(size < 1 for shape in call.shapes for size in shape):
        return None
    make = _MAKERS.get(call.name)
    return make(call) if make else None


def _linear(rows: int, inner: int, columns: int) -> Task:
    m, k, n = float(rows), float(inner), float(columns)
    return Task(LINEAR, (1.0, m, n, k, 1.0, 2 * m * n * k, _ITEM * (m * k + n * k + m * n)), measured=True)


def _batched(batch: int, rows: int, inner: int, columns: int) -> Task:
    b, m, k, n = float(batch), float(rows), float(inner), float(columns)
    return Task(BATCHED, (b, m, n, k, 1.0, 2 * b * m * n * k, _ITEM * b * (m * k + n * k + m * n)), measured=True)


def _fully_connected(call: Call) -> Task | None:
    given, weight = call.shapes[0], call.shapes[1] if len(call.shapes) > 1 else ()
    if len(weight) != 2 or not given or given[-1] != weight[1]:
        return None
    return _linear(math.prod(given[:-1]), given[-1], weight[0])


def _product(call: Call) -> Task | None:
    if len(call.shapes) < 2:
        return None
    left, right = call.shapes[-2:]
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
        return None
    if len(right) == 2:
        return _linear(math.prod(left[:-1]), left[-1], right[-1])
    return _batched(math.prod(left[:-2]), left[-2], left[-1], right[-1]) if left[:-2] == right[:-2] else None


def _convolution(call: Call) -> Task | None:
    if len(call.shapes) < 2 or len(call.shapes[0]) != 4 or len(call.shapes[1]) != 4:
        return None
    (images, inputs, height, width), (outputs, given, tall, wide) = call.shapes[0], call.shapes[1]
    lists = [_pair(value) for value in call.values if value.startswith("[")]
    if given != inputs or len(lists) < 3 or "True" in call.values[:5]:
        # Grouped, transposed, or of arguments that were not recorded.
        return None
    stride, padding, dilation = lists[:3]
    rows = (height + 2 * padding[0] - dilation[0] * (tall - 1) - 1) // stride[0] + 1
    columns = (width + 2 * padding[1] - dilation[1] * (wide - 1) - 1) // stride[1] + 1
    if rows < 1 or columns < 1:
        return None
    m, k, n = float(images * rows * columns), float(inputs * tall * wide), float(outputs)
    traffic = _ITEM * (float(images) * inputs * height * width + n * k + m * n)
    same = (tall, wide) == (3, 3) and stride == dilation == (1, 1)
    numbers = (1.0, m, n, k, float(columns), 2 * m * n * k, traffic)
    return Task(CONVOLUTION if same else LINEAR, numbers, measured=same)


def _pair(text: str) -> tuple[int, int]:
    found = [int(value) for value in _INTEGERS.findall(text)]
    return (found[0], found[-1]) if found else (0, 0)


def _light(kind: str, shape: Shape, tensors: int) -> Task:
    rows, columns = float(math.prod(shape[:-1])), float(shape[-1] if shape else 1)
    flops = _OPERATIONS.get(kind, 1.0) * rows * columns
    return Task(kind, (1.0, rows, columns, 1.0, 1.0, flops, _ITEM * tensors * rows * columns), measured=True)


def _elementwise(call: Call) -> Task | None:
    shape = call.shapes[0]
    if call.name in _UNARY:
        return _light(_UNARY[call.name], shape, 2)
    tensors = [other for other in call.shapes[1:] if other]
    if not tensors:
        return _light(_BINARY[call.name] + "u", shape, 2)
    # What is spread out over the other operand reads less than the tables' rows do.
    return _light(_BINARY[call.name], shape, 3) if tensors == [shape] else None


def _over_last(call: Call) -> Task | None:
    shape = call.shapes[0]
    axes = [int(value) for value in _INTEGERS.findall(call.values[0])] if call.values else []
    if call.name.endswith("layer_norm"):
        return _light("ln", shape, 2) if axes == [shape[-1]] else None
    return _light("softmax", shape, 2) if axes in ([-1], [len(shape) - 1]) else None


_MAKERS: Final[Mapping[str, Callable[[Call], Task | None]]] = {
    "linear": _fully_connected, "mm": _product, "addmm": _product, "bmm": _product, "baddbmm": _product, "matmul": _product,
    "conv2d": _convolution, "convolution": _convolution,
    **dict.fromkeys((*_UNARY, *_BINARY), _elementwise),
    **dict.fromkeys(("softmax", "safe_softmax", "layer_norm", "native_layer_norm"), _over_last),
}  # fmt: skip


def is_product(call: Call) -> bool:
    """True for matrix products and convolutions."""
    return _MAKERS.get(call.name) in (_fully_connected, _product, _convolution)


def calls_values(arguments: Sequence[str | None]) -> tuple[str, ...]:
    """Arguments that are no tensors, as the profiler records them: it leaves those of tensors empty."""
    return tuple(value for value in arguments if value)

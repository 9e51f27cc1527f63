"""Kernels cut out of published networks, and bent: the same operators, attributes and fusions, with other sizes near those that occur.

After nn-Meter (Zhang et al., MobiSys 2021, section 4): kernels are sampled near the configurations that published networks hold, because uniform sampling of
every dimension would measure what nobody runs. Weights above what a core's own cache holds are left out: alone in a loop they would be read from a cache
that a whole network has long filled with other things, and the kernel would look faster than it ever is.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from stowplan_fleet.errors import GraphRefused

from stowplan_predictor.fusion import rules
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.graphs import loading
from stowplan_predictor.graphs.opgraphs import Operator, OpGraph, Tensor
from stowplan_predictor.measuring import inputs
from stowplan_predictor.training.generated.builders import OPSET, Node
from stowplan_predictor.training.generated.single_kernels import Input, Spec

Values = Mapping[str, NDArray[Any]]

# Half of the second-level cache of the cores we know; see above.
MOST_PARAMETER_BYTES: Final = 256 * 1024
# Of everything that a kernel touches, and its operations: some milliseconds at most.
_MOST_BYTES: Final = 24 << 20
_MOST_FLOPS: Final = 150_000_000
# Sizes up to this are counts of heads, channels of colour, windows and the like: they stay.
_KEPT_SIZE: Final = 8
_LARGEST_MAPPED: Final = 1 << 20
_COMMON_FACTORS: Final = (0.5, 0.625, 0.75, 0.875, 1.25, 1.5, 2.0)
_LOG_SPREAD: Final = 0.7
# Alone they are copied, because a result must not be an input; inside a network they cost nothing but their dispatch.
_VIEWS: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
# Shape arguments that are constants in every export; where the value was folded away it follows from the result.
_SHAPE_OF_RESULT: Final = frozenset({"Reshape", "Expand", "Resize"})
# Position of the wanted shape among the inputs; others read theirs second.
_SIZES_OF_RESIZE: Final = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """A kernel of a network, before sizes are bent."""

    spec: Spec
    position: int
    """Of the kernel in its network."""


def known_values(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Small constants of a stripped model by name: initializers, and results of Constant nodes."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items() if not tensor.external_data}


def opset_of(model: onnx.ModelProto) -> int:
    """The default domain's version."""
    return next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)


def cuts(graph: OpGraph, kernels: Sequence[Kernel], values: Values, network: str, family: str) -> list[Cut]:
    """Every kernel of a network (exported at the opset that we write) that can stand alone and is small enough to be measured thousands of times."""
    found = []
    for kernel in kernels:
        if kernel.parameter_bytes > MOST_PARAMETER_BYTES or kernel.bytes > _MOST_BYTES or kernel.flops > _MOST_FLOPS:
            continue
        spec = _cut(graph, kernel, values, network, family)
        if spec is not None:
            found.append(Cut(spec, kernel.index))
    return found


def _cut(graph: OpGraph, kernel: Kernel, values: Values, network: str, family: str) -> Spec | None:
    operators = [graph.operators[index] for index in kernel.operators]
    if any(op.domain not in ("", "ai.onnx") for op in operators) or not kernel.outputs or graph.operators[kernel.anchor].op_type in _VIEWS:
        return None
    names: dict[str, str] = {"": ""}
    activations, weights, constants = dict[str, Input](), dict[str, tuple[int, ...]](), dict[str, NDArray[Any]]()
    nodes = []
    for number, op in enumerate(operators):
        for position, tensor_name in enumerate(op.inputs):
            if tensor_name in names:
                continue
            name, tensor = names.setdefault(tensor_name, f"t{len(names)}"), graph.tensors[tensor_name]
            value = _value(graph, op, position, tensor, values) if tensor.parameter else None
            if value is not None:
                constants[name] = value
            elif tensor.parameter and tensor.dtype == "float32":
                weights[name] = tensor.shape
            elif not tensor.parameter and tensor.dtype in ("float32", "int64"):
                activations[name] = Input(tensor.shape, tensor.dtype == "int64")
            else:
                return None
        outputs = tuple(names.setdefault(output, f"t{len(names)}") if output else "" for output in op.outputs)
        attributes = {key: list(item) if isinstance(item, tuple) else item for key, item in op.attributes.items() if item not in ((), "")}
        nodes.append(Node(f"{op.op_type}_{number}", op.op_type, tuple(names[item] for item in op.inputs), outputs, attributes))
    results = {names[output]: graph.tensors[output] for output in kernel.outputs}
    if not activations or any(result.dtype != "float32" for result in results.values()):
        return None
    return Spec(str(kernel.type), network, family, tuple(nodes), activations, weights, constants, {name: len(item.shape) for name, item in results.items()})


def _value(graph: OpGraph, op: Operator, position: int, tensor: Tensor, values: Values) -> NDArray[Any] | None:
    if tensor.name in values:
        return values[tensor.name]
    if tensor.dtype != "int64" or position != (_SIZES_OF_RESIZE if op.op_type == "Resize" else 1):
        return None
    results = [graph.tensors[output].shape for output in op.outputs if output]
    if op.op_type in _SHAPE_OF_RESULT:
        return np.array(results[0], np.int64)
    axis = op.attributes.get("axis", 0)
    if op.op_type == "Split" and len(results) == len(op.outputs) and isinstance(axis, int):
        return np.array([shape[axis] for shape in results], np.int64)
    return None


def bent(spec: Spec, choose: random.Random) -> Spec | None:
    """The same kernel with other sizes: all by one factor, or each by its own; None where that is no longer the same kernel."""
    sizes: dict[int, int] = {}
    common = choose.choice(_COMMON_FACTORS) if choose.random() < 0.5 else None

    def size(old: int) -> int:
        if old <= _KEPT_SIZE or old > _LARGEST_MAPPED:
            return old
        if old not in sizes:
            factor = common or float(np.exp(choose.uniform(-_LOG_SPREAD, _LOG_SPREAD)))
            step = 8 if old % 8 == 0 and common is None else 1
            sizes[old] = max(1, round(old * factor / step)) * step
        return sizes[old]

    changed = replace(
        spec,
        nodes=tuple(_resized(node, size) for node in spec.nodes),
        inputs={name: replace(item, shape=tuple(map(size, item.shape))) for name, item in spec.inputs.items()},
        # Windows of convolutions stay: they are attributes as well.
        weights={name: (*map(size, shape[:2]), *shape[2:]) if len(shape) >= 4 else tuple(map(size, shape)) for name, shape in spec.weights.items()},
        constants={name: _resized_constant(array, size) for name, array in spec.constants.items()},
    )
    return changed if is_alone(changed) else None


def _resized(node: Node, size: Callable[[int], int]) -> Node:
    group = node.attributes.get("group", 1)
    return replace(node, attributes={**node.attributes, "group": size(group)}) if group > _KEPT_SIZE else node


def _resized_constant(array: NDArray[Any], size: Callable[[int], int]) -> NDArray[Any]:
    if array.dtype != np.int64:
        return array
    return np.array([size(int(value)) for value in array.ravel()], np.int64).reshape(array.shape)


def is_alone(spec: Spec) -> bool:
    """True where the reader takes the graph, our fusion makes exactly that kernel of it, and it is small enough."""
    try:
        graph = loading.load_graph(spec.blueprint().structure())
    except GraphRefused:
        return False
    kernels = rules.fuse(graph)
    if len(kernels) != 1 or str(kernels[0].type) != spec.kernel:
        return False
    return kernels[0].parameter_bytes <= MOST_PARAMETER_BYTES and kernels[0].bytes <= _MOST_BYTES and kernels[0].flops <= _MOST_FLOPS


def runs(spec: Spec) -> bool:
    """True where the runtime takes the graph and runs it: shape inference lets some contradictions pass (channels against groups)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(spec.blueprint().network(), options, providers=["CPUExecutionProvider"])
        session.run(None, inputs.random_inputs(session.get_inputs(), {}, {}))
    except Exception:  # noqa: BLE001 - the runtime's own exceptions share no base class
        return False
    return True


def readable(model: onnx.ModelProto) -> bool:
    """True for networks written at the opset that specs are written at: the same attributes mean the same there."""
    return opset_of(model) == OPSET

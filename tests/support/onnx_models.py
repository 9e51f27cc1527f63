"""Small ONNX models, written down in a line or two."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from stowplan_predictor.graphs.loading import load_graph

# The NumPy kinds the tests use, by name.
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RELU = helper.make_node("Relu", ["x"], ["y"], name="act")


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str] | None],
    outputs: Sequence[str] = ("y",),
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    input_type: int = FLOAT,
    **extra: object,
) -> ModelProto:
    """A model; `inputs` are shapes by name, `constants` become initializers."""
    stored = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        stored,
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, **extra)


def zeros(*shape: int) -> np.ndarray:
    """Weights whose values do not matter."""
    return np.zeros(shape, np.float32)


def ints(*values: int) -> np.ndarray:
    """A vector of integers: a shape, axes, bounds."""
    return np.array(values, np.int64)


def operator_types(proto: ModelProto, **shapes: tuple[int, ...]) -> list[str]:
    """The operators of the graph that a model loads as, in order."""
    return [op.op_type for op in load_graph(proto.SerializeToString(), shapes).operators]

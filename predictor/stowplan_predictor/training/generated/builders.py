"""Random graphs while they are drawn: nodes, the shapes of their weights and what they cost; made into ONNX with weights, or without them, only at the end.

Choices never depend on weights, so that a structure without weights is the structure of the network that was measured.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stowplan_predictor.training.generated import weights as random_weights
from stowplan_predictor.training.generated.weights import SharedPlaces

OPSET: Final = 17
# Newest file format that every runtime of opset 17 reads.
_IR_VERSION: Final = 9


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter whose values only exist in the full network."""

    shape: tuple[int, ...]
    positive: bool = False
    """True for what is divided by: variances."""


@dataclass(frozen=True, slots=True)
class Node:
    """One ONNX node; its only output carries its name and `_out`, further outputs are numbered."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A network that could be written down."""

    name: str
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, int]
    """Names and ranks."""
    nodes: tuple[Node, ...]
    weights: Mapping[str, Weight]
    constants: Mapping[str, NDArray[Any]]
    """Values that shapes and fusions may depend on: axes, bounds, scalars."""
    integer_inputs: frozenset[str] = frozenset()

    @property
    def parameters(self) -> int:
        """Elements of all weights."""
        return sum(prod(weight.shape) for weight in self.weights.values())

    def network(self) -> bytes:
        """The ONNX file with weights."""
        return self._written([random_weights.inside(name, weight.shape, positive=weight.positive) for name, weight in self.weights.items()])

    def sharing(self) -> bytes:
        """The ONNX file whose large weights lie in `random_weights.SHARED` beside it."""
        places = SharedPlaces()
        return self._written([places.tensor(name, weight.shape, positive=weight.positive) for name, weight in self.weights.items()])

    def structure(self) -> bytes:
        """The same without weights, as `measuring.structures.strip_weights` leaves them out."""
        return self._written([random_weights.stripped(name, weight.shape) for name, weight in self.weights.items()])

    def _written(self, weights: Sequence[onnx.TensorProto]) -> bytes:
        graph = helper.make_graph(
            [helper.make_node(node.op_type, node.inputs, node.outputs, name=node.name, **node.attributes) for node in self.nodes],
            self.name,
            [
                helper.make_tensor_value_info(name, TensorProto.INT64 if name in self.integer_inputs else TensorProto.FLOAT, shape)
                for name, shape in self.inputs.items()
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name, rank in self.outputs.items()],
            [*weights, *(numpy_helper.from_array(value, name) for name, value in self.constants.items())],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="stowplan")
        model.ir_version = _IR_VERSION
        return bytes(model.SerializeToString(deterministic=True))


class GraphBuilder:
    """A graph that grows node by node, and the choices it is drawn with."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.nodes: list[Node] = []
        self.weights: dict[str, Weight] = {}
        self.constants: dict[str, NDArray[Any]] = {}

    def node(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:  # noqa: ANN401 - ONNX attributes
        """Appends a node with one output, and returns that output's name."""
        return self.nodes_of(op_type, inputs, 1, **attributes)[0]

    def nodes_of(self, op_type: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> tuple[str, ...]:  # noqa: ANN401
        """Appends a node with several outputs, and returns their names."""
        name = f"{op_type}_{len(self.nodes)}"
        names = tuple(f"{name}_out{number or ''}" for number in range(outputs))
        self.nodes.append(Node(name, op_type, tuple(inputs), names, attributes))
        return names

    def weight(self, *shape: int, positive: bool = False) -> str:
        """Adds a parameter, and returns its name."""
        name = f"weight_{len(self.weights)}"
        self.weights[name] = Weight(shape, positive)
        return name

    def constant(self, value: Any) -> str:  # noqa: ANN401 - a NumPy array or scalar
        """Adds a constant that stays in structures, and returns its name."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def activate(self, value: str, kind: str) -> str:
        """One of `ACTIVATIONS` as exporters write it; an empty kind is none."""
        match kind:
            case "":
                return value
            case "Relu6":
                return self.node("Clip", [value, self.constant(np.float32(0)), self.constant(np.float32(6))])
            case "Silu":
                return self.node("Mul", [value, self.node("Sigmoid", [value])])
            case "Gelu":
                scaled = self.node("Erf", [self.node("Div", [value, self.constant(np.float32(2**0.5))])])
                product = self.node("Mul", [value, self.node("Add", [scaled, self.constant(np.float32(1))])])
                return self.node("Mul", [product, self.constant(np.float32(0.5))])
            case "QuickGelu":
                gate = self.node("Sigmoid", [self.node("Mul", [value, self.constant(np.float32(1.702))])])
                return self.node("Mul", [value, gate])
            case _:
                return self.node(kind, [value])

    def blueprint(self, name: str, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, int], integer_inputs: Sequence[str] = ()) -> Blueprint:
        """What was drawn."""
        return Blueprint(name, inputs, outputs, tuple(self.nodes), self.weights, self.constants, frozenset(integer_inputs))


# Relu first and most often, as in published networks.
ACTIVATIONS: Final = ("Relu", "Relu", "Relu", "Relu6", "HardSwish", "Silu", "Gelu", "LeakyRelu", "Sigmoid", "Tanh", "")

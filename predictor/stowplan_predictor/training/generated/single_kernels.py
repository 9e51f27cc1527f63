"""Graphs of a single kernel, written as JSON: everything a network gave it and nothing else, so that a row carries its own structure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.generated.builders import Blueprint, Node, Weight


@dataclass(frozen=True, slots=True)
class Input:
    """An activation that the kernel reads."""

    shape: tuple[int, ...]
    integer: bool


@dataclass(frozen=True, slots=True)
class Spec:
    """A kernel on its own; tensors are called `t0`, `t1` and so on."""

    kernel: str
    """Its type."""
    network: str
    """The network that it was cut out of."""
    family: str
    """That network's family: held out together with it."""
    nodes: tuple[Node, ...]
    inputs: Mapping[str, Input] = field(hash=False)
    weights: Mapping[str, tuple[int, ...]] = field(hash=False)
    constants: Mapping[str, NDArray[Any]] = field(hash=False)
    outputs: Mapping[str, int] = field(hash=False)
    """Names and ranks."""

    def blueprint(self) -> Blueprint:
        """The graph, ready to be written down with or without weights."""
        return Blueprint(
            name=f"{self.kernel} of {self.network}",
            inputs={name: item.shape for name, item in self.inputs.items()},
            outputs=self.outputs,
            nodes=self.nodes,
            weights={name: Weight(shape) for name, shape in self.weights.items()},
            constants=self.constants,
            integer_inputs=frozenset(name for name, item in self.inputs.items() if item.integer),
        )


def to_json(spec: Spec) -> str:
    """The spec in one line."""
    record = {
        "kernel": spec.kernel,
        "network": spec.network,
        "family": spec.family,
        "nodes": [[node.op_type, node.inputs, node.outputs, dict(node.attributes)] for node in spec.nodes],
        "inputs": {name: [list(item.shape), item.integer] for name, item in spec.inputs.items()},
        "weights": {name: list(shape) for name, shape in spec.weights.items()},
        "constants": {name: [array.dtype.name, list(array.shape), array.ravel().tolist()] for name, array in spec.constants.items()},
        "outputs": dict(spec.outputs),
    }
    return json.dumps(record, separators=(",", ":"))


def from_json(text: str) -> Spec:
    """What `to_json` wrote.

    Raises:
        DatasetRefused: it was not written by this version.
    """
    try:
        record = json.loads(text)
        return Spec(
            kernel=record["kernel"],
            network=record["network"],
            family=record["family"],
            nodes=tuple(
                Node(f"{op_type}_{number}", op_type, tuple(inputs), tuple(outputs), attributes)
                for number, (op_type, inputs, outputs, attributes) in enumerate(record["nodes"])
            ),
            inputs={name: Input(tuple(shape), integer) for name, (shape, integer) in record["inputs"].items()},
            weights={name: tuple(shape) for name, shape in record["weights"].items()},
            constants={name: np.array(values, dtype).reshape(shape) for name, (dtype, shape, values) in record["constants"].items()},
            outputs=record["outputs"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetRefused(f"isolated kernel {text[:80]}: not a specification of this version: {error!r}; measure again") from error


def structure(text: str) -> bytes:
    """The ONNX file without weights of a spec's JSON, as `IsolatedRow.spec` holds it."""
    return from_json(text).blueprint().structure()

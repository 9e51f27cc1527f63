"""Operator graphs: what a network computes, with every shape bound, and nothing of how it was stored."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from stowplan_fleet.services import GraphDigest

# An attribute that a cost or a fusion rule may look at. Tensors and sub-graphs are not kept.
AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value that flows along edges, or a parameter."""

    name: str
    dtype: str
    """NumPy's name: `float32`, `int64`, `bool`."""
    shape: tuple[int, ...]
    item_bytes: int
    parameter: bool = False
    """True where its value does not depend on the request: an initializer, or constant-folded."""

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self.elements * self.item_bytes


@dataclass(frozen=True, slots=True)
class Operator:
    """One node of the graph that runs at request time (constant-folded nodes are not operators)."""

    index: int
    """Position in topological order."""
    name: str
    op_type: str
    domain: str
    """Empty for the default ONNX domain."""
    inputs: tuple[str, ...]
    """Tensor names in order; empty strings where an optional input is absent."""
    outputs: tuple[str, ...]
    """Tensor names in order; empty strings where nobody reads an output."""
    attributes: Mapping[str, AttributeValue] = field(hash=False)
    flops: int
    """Floating-point operations of one inference: a multiply and an add are two."""
    input_bytes: int
    """Activations read (not parameters)."""
    output_bytes: int
    parameter_bytes: int
    """Parameters read: whole tensors, except where only elements are picked (Gather)."""


@dataclass(frozen=True)
class OpGraph:
    """Operators in topological order, the tensors between them, and nothing else."""

    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    """Every tensor that an operator names."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int
    """Elements of all parameters that operators read, each counted once."""
    parameter_bytes: int

    @cached_property
    def producers(self) -> Mapping[str, int]:
        """Index of the operator that writes a tensor, by tensor name."""
        return {name: op.index for op in self.operators for name in op.outputs if name}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[int, ...]]:
        """Indices of the operators that read a tensor, ascending, by tensor name."""
        found: dict[str, list[int]] = {}
        for op in self.operators:
            for name in dict.fromkeys(op.inputs):
                if name:
                    found.setdefault(name, []).append(op.index)
        return {name: tuple(indices) for name, indices in found.items()}

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Pairs (producer, consumer) of operator indices, ascending, each once."""
        pairs = {(self.producers[name], op.index) for op in self.operators for name in op.inputs if name in self.producers}
        return tuple(sorted(pairs))

    @property
    def flops(self) -> int:
        """Floating-point operations of one inference."""
        return sum(op.flops for op in self.operators)

    @cached_property
    def digest(self) -> GraphDigest:
        """`sha256:<hex>` of structure, shapes and attributes; independent of names and weights."""
        numbers: dict[str, int] = {}

        def number(name: str) -> int:
            return -1 if not name else numbers.setdefault(name, len(numbers))

        def typed(name: str) -> list[object]:
            if not name:
                return [-1]
            tensor = self.tensors[name]
            return [number(name), tensor.dtype, list(tensor.shape), tensor.parameter]

        canonical = [
            [typed(name) for name in self.inputs],
            [[op.domain, op.op_type, [typed(i) for i in op.inputs], [typed(o) for o in op.outputs], sorted(op.attributes.items())] for op in self.operators],
            [number(name) for name in self.outputs],
        ]
        return GraphDigest("sha256:" + hashlib.sha256(json.dumps(canonical, separators=(",", ":")).encode()).hexdigest())

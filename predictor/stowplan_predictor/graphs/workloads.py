"""Workloads: what a counting rule sees of one node: operands with shapes, and attributes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from stowplan_predictor.errors import ModelUnreadable, ShapeRefused
from stowplan_predictor.graphs import attributes as attribute_values
from stowplan_predictor.graphs.opgraphs import AttributeValue, Tensor


@dataclass(frozen=True, slots=True)
class Workload:
    """One node."""

    where: str
    """Names the node in errors."""
    op_type: str
    inputs: tuple[Tensor | None, ...]
    """None where an optional input is absent."""
    outputs: tuple[Tensor | None, ...]
    """None where an optional output is absent."""
    attributes: Mapping[str, AttributeValue]

    def shape(self, position: int) -> tuple[int, ...]:
        """Shape of a required input.

        Raises:
            ModelUnreadable: the input is absent.

        """
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            raise ModelUnreadable(f"{self.where}: input {position} is missing")
        return found.shape

    def has(self, position: int) -> bool:
        """Whether an optional input is there."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return attribute_values.integer(self.attributes, name, default, self.where)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of integers, or None."""
        return attribute_values.integers(self.attributes, name, self.where)

    @property
    def elements(self) -> int:
        """Elements of the first output."""
        if not self.outputs or self.outputs[0] is None:
            raise ModelUnreadable(f"{self.where}: its first output is missing")
        return self.outputs[0].elements

    @property
    def input_elements(self) -> int:
        """Elements of the first input."""
        return prod(self.shape(0))

    def dimension(self, position: int, axis: int) -> int:
        """One dimension of an input.

        Raises:
            ShapeRefused: the input has fewer dimensions.

        """
        shape = self.shape(position)
        if not -len(shape) <= axis < len(shape):
            raise ShapeRefused(f"{self.where}: input {position} has shape {shape}, and dimension {axis} is needed")
        return shape[axis]


# Floating-point operations of one node.
Rule = Callable[[Workload], int]

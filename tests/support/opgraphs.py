"""Hand-made operator graphs: shapes are given, costs are simple enough to check by head."""

from collections.abc import Mapping
from math import prod

from stowplan_predictor.graphs.opgraphs import AttributeValue, Operator, OpGraph, Tensor

ITEM_BYTES = 4
FLOPS = 10
"""Of every hand-made operator: sums then count operators."""


class GraphMaker:
    """Writes a graph operator by operator; every method returns the name of what was made."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.operators: list[Operator] = []
        self.inputs: list[str] = []

    def input(self, *shape: int, dtype: str = "float32") -> str:
        """An input of the graph."""
        name = f"in{len(self.inputs)}"
        self.tensors[name] = Tensor(name, dtype, shape, ITEM_BYTES)
        self.inputs.append(name)
        return name

    def parameter(self, *shape: int) -> str:
        """A weight, a bias, or with no shape a scalar."""
        name = f"p{len(self.tensors)}"
        self.tensors[name] = Tensor(name, "float32", shape, ITEM_BYTES, parameter=True)
        return name

    def op(
        self, op_type: str, *inputs: str, shape: tuple[int, ...] | None = None, attributes: Mapping[str, AttributeValue] | None = None, dtype: str = "float32"
    ) -> str:
        """An operator with one output; its shape is that of its first activation where none is given."""
        index = len(self.operators)
        activations = [name for name in inputs if name and not self.tensors[name].parameter]
        name = f"t{index}"
        self.tensors[name] = Tensor(name, dtype, self.tensors[activations[0]].shape if shape is None else shape, ITEM_BYTES)
        self.operators.append(
            Operator(
                index=index,
                name=f"{op_type.lower()}{index}",
                op_type=op_type,
                domain="",
                inputs=inputs,
                outputs=(name,),
                attributes=dict(attributes or {}),
                flops=FLOPS,
                input_bytes=sum(self.tensors[item].bytes for item in dict.fromkeys(activations)),
                output_bytes=self.tensors[name].bytes,
                parameter_bytes=sum(self.tensors[item].bytes for item in inputs if item and self.tensors[item].parameter),
            )
        )
        return name

    def conv(self, source: str, channels: int, kernel: int = 3, group: int = 1, *, bias: bool = True) -> str:
        """A convolution that keeps height and width."""
        batch, channels_in, *space = self.tensors[source].shape
        weight = self.parameter(channels, channels_in // group, kernel, kernel)
        extra = [self.parameter(channels)] if bias else []
        return self.op("Conv", source, weight, *extra, shape=(batch, channels, *space), attributes={"group": group})

    def norm(self, source: str) -> str:
        """A batch normalization."""
        channels = self.tensors[source].shape[1]
        return self.op("BatchNormalization", source, *(self.parameter(channels) for _ in range(4)))

    def matmul(self, left: str, right: str) -> str:
        """A matrix product."""
        return self.op("MatMul", left, right, shape=(*self.tensors[left].shape[:-1], self.tensors[right].shape[-1]))

    def graph(self, *outputs: str) -> OpGraph:
        """The graph so far; its outputs are what nobody reads where none are named."""
        read = {name for op in self.operators for name in op.inputs}
        ends = outputs or tuple(name for op in self.operators for name in op.outputs if name not in read)
        weights = [tensor for tensor in self.tensors.values() if tensor.parameter]
        return OpGraph(
            tuple(self.operators), self.tensors, tuple(self.inputs), ends, sum(prod(item.shape) for item in weights), sum(item.bytes for item in weights)
        )

"""Kernels: sub-graphs that the runtime runs as one, with the sums that a latency model needs."""

from dataclasses import dataclass
from typing import NewType

# What a kernel mainly does; one latency regressor each. Operator type of the kernel's anchor, refined where it matters
# (`Conv`, `DepthwiseConv`, `PointwiseConv`, `Gemm`, `MaxPool`, ...).
KernelType = NewType("KernelType", str)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of a fused graph."""

    index: int
    """Position in topological order."""
    type: KernelType
    operators: tuple[int, ...]
    """Indices into `OpGraph.operators`, ascending. Eliminated operators (no work at run time) belong to the kernel that feeds them."""
    anchor: int
    """The operator that does the work."""
    inputs: tuple[str, ...]
    """Activations read from outside the kernel."""
    outputs: tuple[str, ...]
    """Tensors that others (or the graph's outputs) read."""
    flops: int
    input_bytes: int
    output_bytes: int
    parameter_bytes: int

    @property
    def bytes(self) -> int:
        """Least traffic to memory: everything read and written once."""
        return self.input_bytes + self.output_bytes + self.parameter_bytes

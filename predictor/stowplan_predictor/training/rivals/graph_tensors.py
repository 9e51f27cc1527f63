"""Whole operator graphs as arrays: what graph models see of a network and of the slice it shall run on.

Nothing is scaled here: sizes are natural logarithms, and a model standardises them by what it learns from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.services import GraphDigest

from stowplan_predictor.graphs.costs import RULES
from stowplan_predictor.graphs.opgraphs import Operator, OpGraph
from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.training.data.samples import Sample

# Every operator type that the reader takes, in a fixed order; index 0 is for any other.
OTHER: Final = "other"
OPERATOR_TYPES: Final = (OTHER, *sorted({op_type for _, op_type in RULES}))
_TYPE_INDEX: Final = {name: index for index, name in enumerate(OPERATOR_TYPES)}

NODE_FEATURES: Final = (
    "log_flops", "log_input_bytes", "log_output_bytes", "log_parameter_bytes", "log_output_elements", "log_rows", "log_columns", "log_output_columns",
    "log_window", "log_stride", "log_groups", "log_dilation", "log_inputs", "log_outputs",
)  # fmt: skip
TOTALS: Final = ("log_flops", "log_input_bytes", "log_output_bytes", "log_parameter_bytes", "log_parameters", "log_operators", "log_edges")
SLICE_FEATURES: Final = ("log_millicores", "log_threads", "log_flops_per_second", "log_bandwidth_bytes_per_second", "log_l2_bytes", "log_l3_bytes")


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """One operator graph."""

    types: NDArray[np.int64]
    """(operators,) indices into OPERATOR_TYPES, in topological order."""
    nodes: NDArray[np.float32]
    """(operators, len(NODE_FEATURES))."""
    edges: NDArray[np.int64]
    """(2, edges): producer and consumer, the producer always before the consumer."""
    totals: NDArray[np.float32]
    """(len(TOTALS),): of the whole graph, whatever a model cuts off."""


def _log(value: float) -> float:
    """Natural logarithm; nothing (no parameter, no window) counts as one."""
    return float(np.log(max(value, 1.0)))


def _product(operator: Operator, name: str) -> int:
    value = operator.attributes.get(name)
    return prod(item for item in value if isinstance(item, int)) if isinstance(value, tuple) else 1


def _node(graph: OpGraph, operator: Operator) -> list[float]:
    tensors = [graph.tensors[name] for name in operator.inputs if name]
    output = graph.tensors[next(name for name in operator.outputs if name)]
    first = tensors[0].shape if tensors else ()
    convolution = len(output.shape) > 2 and ("Conv" in operator.op_type or "Pool" in operator.op_type)
    # ONNX is channels-first where it convolves and pools, and rows by columns elsewhere.
    axis = 1 if convolution else -1
    group = operator.attributes.get("group", 1)
    columns = first[axis] if len(first) > 1 else prod(first)
    out_columns = output.shape[axis] if output.shape else 1
    window = _product(operator, "kernel_shape")
    if "Conv" in operator.op_type and window == 1 and len(tensors) > 1:
        window = prod(tensors[1].shape[2:])
    return [
        operator.flops, operator.input_bytes, operator.output_bytes, operator.parameter_bytes, output.elements, output.elements / max(1, out_columns),
        columns, out_columns, window, _product(operator, "strides"), group if isinstance(group, int) else 1, _product(operator, "dilations"),
        len(tensors), len(operator.outputs),
    ]  # fmt: skip


def graph_tensor(graph: OpGraph) -> GraphTensor:
    """The arrays of a graph."""
    types = np.array([_TYPE_INDEX.get(operator.op_type, 0) for operator in graph.operators], dtype=np.int64)
    raw = np.array([_node(graph, operator) for operator in graph.operators], dtype=np.float64).reshape(len(types), len(NODE_FEATURES))
    edges = np.array(graph.edges, dtype=np.int64).reshape(-1, 2).T
    operators = graph.operators
    totals = [
        graph.flops, sum(op.input_bytes for op in operators), sum(op.output_bytes for op in operators), graph.parameter_bytes, graph.parameters,
        len(operators), edges.shape[1],
    ]  # fmt: skip
    return GraphTensor(types, np.log(np.maximum(raw, 1.0)).astype(np.float32), edges, np.array([_log(value) for value in totals], dtype=np.float32))


def slice_features(slice_: SliceResources) -> NDArray[np.float32]:
    """(len(SLICE_FEATURES),): what the slice has."""
    values = (slice_.millicores, slice_.threads, slice_.flops_per_second, slice_.bandwidth_bytes_per_second, slice_.l2_bytes, slice_.l3_bytes)
    return np.array([_log(value) for value in values], dtype=np.float32)


_cached: Final[dict[GraphDigest, GraphTensor]] = {}


def graph_tensors(samples: Iterable[Sample]) -> list[GraphTensor]:
    """The arrays of every sample's graph, in order; made once a process for each graph, since every fold and every rival asks again."""
    found = []
    for sample in samples:
        if sample.digest not in _cached:
            _cached[sample.digest] = graph_tensor(sample.graph)
        found.append(_cached[sample.digest])
    return found

"""The kernel graph network: graph attention over a kernel's inside, device and slice features joined after pooling, and two heads.

Three layers of attention, each GAT - GraphSizeNorm - ReLU on an undirected graph, mean pooling, and a loss that adds kernel latency and kernel type, follow
"Lilou" (the kernel GNN with learned fusion), section 3.2.2. Ours departs in the target (log of latency over roofline instead of latency), in what is joined
(all features of `kernels.features`: work against the slice's throughput, bandwidth and caches), in a hidden layer behind them, and in its width:
kernels of a CPU runtime have few operators. The `raw` variant predicts milliseconds, as the paper does, to show the difference.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GraphSizeNorm, global_mean_pool

from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.subgraphs import NODES

_OPSET: Final = 17
_ROOFLINE: Final = FEATURES.index("log_roofline_ms")
# Standardised inputs beyond this many deviations say nothing more: single precision and tails of rare shapes stay harmless.
_FARTHEST: Final = 6.0
INPUTS: Final = ("nodes", "operators", "owner", "edges", "subgraphs", "rows", "types", "features")
# The least milliseconds the raw variant may say: a nanosecond, as the roofline's.
_LEAST_MS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network."""

    operators: int
    """Operator types, one more than the vocabulary for those that are not in it."""
    types: int
    """Kernel types, likewise."""
    runtime_types: int
    width: int = 64
    layers: int = 3
    hidden: int = 160
    dropout: float = 0.05
    raw: bool = False


@dataclass(frozen=True)
class Inputs:
    """One batch: sub-graphs joined to one disjoint graph, and rows that ask about them."""

    nodes: Tensor
    """(nodes, len(NODES))"""
    operators: Tensor
    """(nodes,) codes"""
    owner: Tensor
    """(nodes,) sub-graph of each node"""
    edges: Tensor
    """(2, edges)"""
    subgraphs: Tensor
    """(sub-graphs,) of any content: its length is their number."""
    rows: Tensor
    """(rows,) sub-graph of each row"""
    types: Tensor
    """(rows,) codes"""
    features: Tensor
    """(rows, FEATURES)"""

    def tuple(self) -> tuple[Tensor, ...]:
        """In the order of INPUTS."""
        return tuple(getattr(self, name) for name in INPUTS)


class _Standardised(nn.Module):
    """(x - mean) / deviation, held within some deviations."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        super().__init__()
        deviation = values.std(axis=0)
        self.register_buffer("mean", torch.from_numpy(values.mean(axis=0)))
        self.register_buffer("scale", torch.from_numpy(np.where(deviation < 1e-3, 1.0, deviation).astype(np.float32)))

    def forward(self, values: Tensor) -> Tensor:
        return torch.clamp((values - self.mean) / self.scale, -_FARTHEST, _FARTHEST)


class KernelNetwork(nn.Module):
    """Latency and type of kernels.

    Shapes:
        input: see `Inputs`
        output: log(latency / roofline) (rows, 1), scores of the runtime's kernel types (rows, runtime types)
    """

    def __init__(self, shape: Shape, nodes: NDArray[np.float32], features: NDArray[np.float32], center: float = 0.0, spread: float = 1.0) -> None:
        """Takes the sizes, what node and row features look like (for their scales), and mean and deviation of the target."""
        super().__init__()
        self.shape = shape
        self.center, self.spread = center, spread
        self.node_scale, self.feature_scale = _Standardised(nodes), _Standardised(features)
        self.operator = nn.Embedding(shape.operators, 16)
        self.kind = nn.Embedding(shape.types, 16)
        self.enter = nn.Linear(len(NODES) + 16, shape.width)
        self.layers = nn.ModuleList(GATConv(shape.width, shape.width // 2, heads=2) for _ in range(shape.layers))
        self.norm = GraphSizeNorm()
        self.first = nn.Linear(shape.width + 16 + len(FEATURES), shape.hidden)
        self.second = nn.Linear(shape.hidden, shape.hidden)
        self.dropout = nn.Dropout(shape.dropout)
        self.latency = nn.Linear(shape.hidden, 1)
        self.classifier = nn.Linear(shape.hidden, shape.runtime_types)

    def encode(self, nodes: Tensor, operators: Tensor, owner: Tensor, edges: Tensor, subgraphs: Tensor) -> Tensor:
        """One vector (width,) for each sub-graph."""
        x = torch.relu(self.enter(torch.cat([self.node_scale(nodes), self.operator(operators)], dim=1)))
        for layer in self.layers:
            x = x + torch.relu(self.norm(layer(x, edges), owner))
        pooled: Tensor = global_mean_pool(x, owner, subgraphs.shape[0])
        return pooled

    def answers(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The target itself, log ratio or (raw) milliseconds, and scores of the runtime's kernel types."""
        encoded = self.encode(inputs.nodes, inputs.operators, inputs.owner, inputs.edges, inputs.subgraphs)
        joined = torch.cat([encoded[inputs.rows], self.kind(inputs.types), self.feature_scale(inputs.features)], dim=1)
        hidden = torch.relu(self.first(joined))
        hidden = hidden + torch.relu(self.second(self.dropout(hidden)))
        return self.center + self.spread * self.latency(hidden), self.classifier(hidden)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What serves, from tensors in the order of INPUTS: milliseconds become a log ratio, without a gradient below zero."""
        found, scores = self.answers(Inputs(*inputs))
        if self.shape.raw:
            found = torch.log(torch.clamp(found, min=_LEAST_MS)) - Inputs(*inputs).features[:, _ROOFLINE : _ROOFLINE + 1]
        return found, scores


def to_model(network: KernelNetwork, example: Inputs) -> bytes:
    """The network as an ONNX file: INPUTS to `log_ratio` and `scores`, any number of nodes, edges, sub-graphs and rows."""
    network.eval()
    axes = {"nodes": {0: "nodes"}, "operators": {0: "nodes"}, "owner": {0: "nodes"}, "edges": {1: "edges"}, "subgraphs": {0: "subgraphs"}}
    axes |= {name: {0: "rows"} for name in ("rows", "types", "features", "log_ratio", "scores")}
    held = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter warns of its own age and of shapes that it traces; the file is held against the network by a test.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            example.tuple(),
            held,
            input_names=list(INPUTS),
            output_names=["log_ratio", "scores"],
            dynamic_axes=axes,
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load_model_from_string(held.getvalue())
    # Names and places of the exporting machine's source files.
    for node in model.graph.node:
        node.doc_string = ""
    return bytes(model.SerializeToString(deterministic=True))

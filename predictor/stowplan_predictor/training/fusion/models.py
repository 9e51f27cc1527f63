"""Fusion models: which edges of an operator graph ONNX Runtime fuses (paper 001, section 3.2), and their ONNX form.

As the paper: graph attention with 128 channels, GraphSizeNorm, ReLU; an LSTM with 128 channels over the two ends of an edge; a linear layer. Where the paper is
silent: three such layers (a layer normalization taken apart is nine operators long, and one layer sees neighbours only), attention along and against the
edges (half of the channels each), a layer normalization behind GraphSizeNorm (which alone makes the same operator small in a large graph), each layer added to
the one before, and what is known of the edge itself beside the LSTM's result. The LSTM is written out over its two steps, so that what it makes of an operator
is computed once, not once an edge.
"""

import io
import warnings
from typing import Final

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GraphSizeNorm

_CHANNELS: Final = 128
_LAYERS: Final = 3
_OPSET: Final = 18


class Encoder(nn.Module):
    """Operators with what surrounds them.

    Shapes: nodes (n, columns), edges (2, m), graph of each node (n,) to (n, 128).
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.own = nn.Linear(len(mean), _CHANNELS)
        self.along = nn.ModuleList(GATConv(_CHANNELS, _CHANNELS // 2) for _ in range(_LAYERS))
        self.against = nn.ModuleList(GATConv(_CHANNELS, _CHANNELS // 2) for _ in range(_LAYERS))
        self.size = GraphSizeNorm()
        self.norms = nn.ModuleList(nn.LayerNorm(_CHANNELS) for _ in range(_LAYERS))

    def forward(self, nodes: Tensor, edges: Tensor, graphs: Tensor) -> Tensor:
        """See the class."""
        found, back = torch.relu(self.own((nodes - self.mean) / self.scale)), edges.flip(0)
        for along, against, norm in zip(self.along, self.against, self.norms, strict=True):
            found = torch.relu(norm(self.size(torch.cat([along(found, edges), against(found, back)], dim=1), graphs))) + found
        return found


class PairLSTM(nn.Module):
    """An LSTM over two operators: its hidden state after the second.

    Shapes: encoded (n, 128), edges (2, m) to (m, 128).
    """

    def __init__(self) -> None:
        super().__init__()
        self.inputs = nn.Linear(_CHANNELS, 4 * _CHANNELS)
        self.hidden = nn.Linear(_CHANNELS, 4 * _CHANNELS, bias=False)

    def forward(self, encoded: Tensor, edges: Tensor) -> Tensor:
        """See the class."""
        read = self.inputs(encoded)
        # Before the first step hidden state and memory are zero: nothing to forget.
        take, _, new, out = read[edges[0]].chunk(4, dim=1)
        memory = torch.sigmoid(take) * torch.tanh(new)
        take, keep, new, out = (read[edges[1]] + self.hidden(torch.sigmoid(out) * torch.tanh(memory))).chunk(4, dim=1)
        memory = torch.sigmoid(keep) * memory + torch.sigmoid(take) * torch.tanh(new)
        return torch.sigmoid(out) * torch.tanh(memory)


class PairMLP(nn.Module):
    """Both ends side by side: what the LSTM is compared with.

    Shapes: encoded (n, 128), edges (2, m) to (m, 128).
    """

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(2 * _CHANNELS, _CHANNELS)

    def forward(self, encoded: Tensor, edges: Tensor) -> Tensor:
        """See the class."""
        return torch.relu(self.both(torch.cat([encoded[edges[0]], encoded[edges[1]]], dim=1)))


class EdgeClassifier(nn.Module):
    """Fuse or not, for every edge.

    Shapes: nodes (n, columns), edges (2, m), links (m, edge columns), graph of each node (n,) to logits (m,).
    """

    def __init__(self, mean: Tensor, scale: Tensor, links: int, *, recurrent: bool) -> None:
        super().__init__()
        self.encoder = Encoder(mean, scale)
        self.pair = PairLSTM() if recurrent else PairMLP()
        self.head = nn.Linear(_CHANNELS + links, 1)

    def forward(self, nodes: Tensor, edges: Tensor, links: Tensor, graphs: Tensor) -> Tensor:
        """See the class."""
        pair = self.pair(self.encoder(nodes, edges, graphs), edges)
        return self.head(torch.cat([pair, links], dim=1)).squeeze(1)


class _OneGraph(nn.Module):
    """The same for a single graph, as it is served."""

    def __init__(self, model: EdgeClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, nodes: Tensor, edges: Tensor, links: Tensor) -> Tensor:
        return self.model(nodes, edges, links, torch.zeros_like(nodes[:, 0], dtype=torch.int64))


def to_onnx(model: EdgeClassifier, nodes: Tensor, edges: Tensor, links: Tensor) -> bytes:
    """ONNX form for any number of nodes and edges, exported along an example of at least two of each."""
    target = io.BytesIO()
    wrapped = _OneGraph(model).eval()
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter warns of its own deprecation, and of constants in PyG's helpers that hold for every graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped, (nodes, edges, links), target, dynamo=False, opset_version=_OPSET,
            input_names=["nodes", "edges", "links"], output_names=["logits"],
            dynamic_axes={"nodes": {0: "operators"}, "edges": {1: "edges"}, "links": {0: "edges"}, "logits": {0: "edges"}},
        )  # fmt: skip
    return target.getvalue()

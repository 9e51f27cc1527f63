"""GCN graph regressor, after BRP-NAS (Dudziak et al., NeurIPS 2020) as the kernel-GNN paper compares with it: one network over the whole operator graph.

Four graph convolutions (Kipf and Welling, ICLR 2017) over edges in both directions; BRP-NAS reads out one global node of a NAS cell, which does not scale to
graphs of a thousand operators, so that the mean and the largest over all operators are read out instead. Beyond the published form it gets what it needs to
have a chance on graphs of any size: residual connections with layer norm, sizes of operators beside their types, the totals of the graph, the slice.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stowplan_predictor.training.harness.cases import Case
from stowplan_predictor.training.rivals.batches import Batch
from stowplan_predictor.training.rivals.graph_tensors import NODE_FEATURES, OPERATOR_TYPES, SLICE_FEATURES, TOTALS
from stowplan_predictor.training.rivals.learners import Recipe, learn, predict

# BRP-NAS: 4 layers of 600 units on graphs of 8 nodes. Wider than this buys nothing here and does not fit the time on two cores.
LAYERS: Final = 4
WIDTH: Final = 96
RECIPE: Final = Recipe(steps=2900, epochs=30, patience=0.35, learning_rate=2e-3, graphs_a_batch=16, largest_batch=2**40)


def normalised(edges: torch.Tensor, nodes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges in both directions and loops, (2, m), and their weights 1 / sqrt(degree * degree), (m,)."""
    loops = torch.arange(nodes)
    both = torch.cat([edges, edges.flip(0), torch.stack([loops, loops])], dim=1)
    degree = torch.bincount(both[1], minlength=nodes).to(torch.float32)
    return both, (degree[both[0]] * degree[both[1]]).rsqrt()


class GraphConvolutions(nn.Module):  # type: ignore[misc] # torch has no types here
    """Operators to one latency."""

    def __init__(self) -> None:
        super().__init__()
        # Imported here: the package is large, and only this rival needs it.
        from torch_geometric.nn import GCNConv  # noqa: PLC0415

        context = len(TOTALS) + len(SLICE_FEATURES)
        self.types = nn.Embedding(len(OPERATOR_TYPES), WIDTH)
        self.sizes = nn.Linear(len(NODE_FEATURES), WIDTH)
        self.convolutions = nn.ModuleList(GCNConv(WIDTH, WIDTH, normalize=False) for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(LAYERS))
        self.head = nn.Sequential(nn.Linear(2 * WIDTH + context, WIDTH), nn.ReLU(), nn.Dropout(0.1), nn.Linear(WIDTH, 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        """(cases,) log latencies above the line, in spreads."""
        edges, weights = normalised(batch.edges, len(batch.types))
        hidden = torch.relu(self.types(batch.types) + self.sizes(batch.nodes))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = hidden + torch.relu(convolution(norm(hidden), edges, weights))
        graphs = len(batch.graphs)
        index = batch.graph_of_node[:, None].expand_as(hidden)
        pooled = [torch.zeros(graphs, WIDTH).scatter_reduce(0, index, hidden, reduce, include_self=False) for reduce in ("mean", "amax")]
        seen = torch.cat(pooled, dim=1)[batch.graph_of_case]
        found: torch.Tensor = self.head(torch.cat([seen, batch.context], dim=1))
        return found[:, 0]


def fit_predict(train: Sequence[Case], test: Sequence[Case], seed: int) -> NDArray[np.float64]:
    """Milliseconds."""
    return predict(learn(GraphConvolutions, train, seed, RECIPE), test, train, RECIPE)

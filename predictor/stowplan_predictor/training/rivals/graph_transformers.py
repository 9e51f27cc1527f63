"""Graph-informed transformer (Khan, 2025): an operator is a token; two encoder blocks of width 64, four heads, feed-forward 128; masked mean pooling.

Adam at 1e-3, dropout 0.1 and batches of 64 as published. The paper feeds the order of layers (positional embeddings) but its attention never sees an edge,
enough for chains of ten layers; here each block also mixes into a token the mean of its producers and the mean of its consumers, so that branches are visible.
A graph has at most 1024 tokens: of a larger one the first 1024 operators in topological order; the rest shows in the totals of the whole graph, which it gets
beside the slice after pooling.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stowplan_predictor.training.harness.cases import Case
from stowplan_predictor.training.rivals.batches import Batch
from stowplan_predictor.training.rivals.graph_tensors import NODE_FEATURES, OPERATOR_TYPES, SLICE_FEATURES, TOTALS
from stowplan_predictor.training.rivals.learners import Recipe, learn, predict

TOKENS: Final = 1024
WIDTH: Final = 64
HEADS: Final = 4
BLOCKS: Final = 2
FEED_FORWARD: Final = 128
DROPOUT: Final = 0.1
RECIPE: Final = Recipe(steps=700, epochs=30, patience=0.35, learning_rate=1e-3, graphs_a_batch=64, largest_batch=2**21)


class _Edges(NamedTuple):
    """Edges between kept tokens, numbered through all graphs of a batch with their padding; (edges,) each."""

    producers: torch.Tensor
    consumers: torch.Tensor


def _mean_over(tokens: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """For each token, (tokens, width), the mean of those with an edge to it; zeros where there is none."""
    count = torch.bincount(targets, minlength=len(tokens)).clamp(min=1)
    return torch.zeros_like(tokens).index_add(0, targets, tokens[sources]) / count[:, None]


class _Block(nn.Module):  # type: ignore[misc] # torch has no types here
    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH)
        self.from_producers = nn.Linear(WIDTH, WIDTH, bias=False)
        self.from_consumers = nn.Linear(WIDTH, WIDTH, bias=False)
        self.mixed = nn.Linear(WIDTH, 3 * WIDTH)
        self.joined = nn.Linear(WIDTH, WIDTH)
        self.before_feeding = nn.LayerNorm(WIDTH)
        self.feeding = nn.Sequential(nn.Linear(WIDTH, FEED_FORWARD), nn.ReLU(), nn.Linear(FEED_FORWARD, WIDTH), nn.Dropout(DROPOUT))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, tokens: torch.Tensor, edges: _Edges, mask: torch.Tensor) -> torch.Tensor:
        graphs, length, _ = tokens.shape
        normed = self.before_attention(tokens)
        flat = normed.flatten(0, 1)
        fed = self.from_producers(_mean_over(flat, edges.producers, edges.consumers)) + self.from_consumers(_mean_over(flat, edges.consumers, edges.producers))
        informed = normed + fed.view_as(normed)
        queries, keys, values = self.mixed(informed).view(graphs, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask[:, None, None, :].expand(-1, -1, length, -1))
        tokens = tokens + self.dropout(self.joined(seen.transpose(1, 2).reshape(graphs, length, WIDTH)))
        found: torch.Tensor = tokens + self.feeding(self.before_feeding(tokens))
        return found


class GraphTransformer(nn.Module):  # type: ignore[misc] # torch has no types here
    """Tokens to one latency."""

    def __init__(self) -> None:
        super().__init__()
        context = len(TOTALS) + len(SLICE_FEATURES)
        self.types = nn.Embedding(len(OPERATOR_TYPES), WIDTH)
        self.sizes = nn.Linear(len(NODE_FEATURES), WIDTH)
        self.positions = nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(_Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Sequential(nn.Linear(WIDTH + context, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        """(cases,) log latencies above the line, in spreads."""
        graphs = len(batch.graphs)
        sizes = torch.bincount(batch.graph_of_node, minlength=graphs)
        place = torch.arange(len(batch.types)) - (torch.cumsum(sizes, 0) - sizes)[batch.graph_of_node]
        length, kept = min(TOKENS, int(sizes.max())), place < TOKENS
        tokens, mask = torch.zeros(graphs, length, WIDTH), torch.zeros(graphs, length, dtype=torch.bool)
        embedded = self.types(batch.types[kept]) + self.sizes(batch.nodes[kept]) + self.positions(place[kept])
        tokens[batch.graph_of_node[kept], place[kept]] = embedded
        mask[batch.graph_of_node[kept], place[kept]] = True
        inside = place[batch.edges[1]] < length
        first, second = (batch.graph_of_node[ends] * length + place[ends] for ends in batch.edges[:, inside])
        for block in self.blocks:
            tokens = block(tokens, _Edges(first, second), mask)
        pooled = (self.norm(tokens) * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        found: torch.Tensor = self.head(torch.cat([pooled[batch.graph_of_case], batch.context], dim=1))
        return found[:, 0]


def fit_predict(train: Sequence[Case], test: Sequence[Case], seed: int) -> NDArray[np.float64]:
    """Milliseconds."""
    return predict(learn(GraphTransformer, train, seed, RECIPE), test, train, RECIPE)

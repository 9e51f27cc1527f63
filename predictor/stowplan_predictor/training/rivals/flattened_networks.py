"""DNN on the flattened attribute list and adjacency matrix (Mendoza and Wang, 2020): hidden layers of 100 units, their number chosen on held-back networks.

The paper's networks have at most ten layers. Here the list holds the first 128 operators in topological order (type one-hot, with one column for all types
that no training network has; and the sizes of every operator: the paper has the number of weights only); a larger graph is cut there, and is judged all
the same. What was cut shows in the totals of the whole graph, which this rival gets beside the slice. Operators are in topological order, so that the
lower half of the adjacency matrix is empty and left out.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stowplan_predictor.training.harness.cases import Case
from stowplan_predictor.training.rivals.batches import Batch
from stowplan_predictor.training.rivals.graph_tensors import NODE_FEATURES, OPERATOR_TYPES, SLICE_FEATURES, TOTALS, graph_tensors
from stowplan_predictor.training.rivals.learners import Recipe, learn, predict

OPERATORS: Final = 128
UNITS: Final = 100
# The paper searched 1 to 20 and chose 13 (fully connected) and 19 (convolutional), out of hundreds of thousands of networks.
DEPTHS: Final = (2, 5, 13)
RECIPE: Final = Recipe(steps=800, epochs=60, patience=0.35, learning_rate=2e-3, graphs_a_batch=48, largest_batch=2**40)
_EDGES: Final = OPERATORS * (OPERATORS - 1) // 2


def flattened(batch: Batch, columns: torch.Tensor) -> torch.Tensor:
    """(graphs, attributes and upper half of the adjacency matrix) of the first OPERATORS operators, padded with zeros.

    Args:
        batch: graphs.
        columns: (OPERATOR_TYPES,) the one-hot column of every operator type.
    """
    graphs = len(batch.graphs)
    sizes = torch.bincount(batch.graph_of_node, minlength=graphs)
    place = torch.arange(len(batch.types)) - (torch.cumsum(sizes, 0) - sizes)[batch.graph_of_node]
    kept = place < OPERATORS
    types = torch.zeros(graphs, OPERATORS, int(columns.max()) + 1)
    types[batch.graph_of_node[kept], place[kept], columns[batch.types[kept]]] = 1.0
    nodes = torch.zeros(graphs, OPERATORS, len(NODE_FEATURES))
    nodes[batch.graph_of_node[kept], place[kept]] = batch.nodes[kept]
    first, second = place[batch.edges[0]], place[batch.edges[1]]
    inside = second < OPERATORS
    adjacency = torch.zeros(graphs, _EDGES)
    # Row `first` of the upper half begins after the rows above it.
    cell = first * OPERATORS - first * (first + 1) // 2 + second - first - 1
    adjacency[batch.graph_of_node[batch.edges[0][inside]], cell[inside]] = 1.0
    return torch.cat([types.flatten(1), nodes.flatten(1), adjacency], dim=1)


def type_columns(train: Sequence[Case]) -> torch.Tensor:
    """(OPERATOR_TYPES,): a column for each operator type of the training networks, and column 0 for all others."""
    known = np.unique(np.concatenate([graph.types for graph in graph_tensors(case.sample for case in train)]))
    columns = torch.zeros(len(OPERATOR_TYPES), dtype=torch.int64)
    columns[torch.from_numpy(known)] = torch.arange(1, len(known) + 1)
    return columns


class FlattenedNetwork(nn.Module):  # type: ignore[misc] # torch has no types here
    """Flattened graphs to one latency."""

    def __init__(self, depth: int, columns: torch.Tensor) -> None:
        super().__init__()
        context = len(TOTALS) + len(SLICE_FEATURES)
        self.columns = columns
        width = OPERATORS * (int(columns.max()) + 1 + len(NODE_FEATURES)) + _EDGES
        self.first = nn.Linear(width, UNITS, bias=False)
        self.context = nn.Linear(context, UNITS)
        self.hidden = nn.ModuleList(nn.Linear(UNITS, UNITS) for _ in range(depth - 1))
        self.last = nn.Linear(UNITS, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """(cases,) log latencies above the line, in spreads."""
        hidden = torch.relu(self.first(flattened(batch, self.columns))[batch.graph_of_case] + self.context(batch.context))
        for layer in self.hidden:
            hidden = torch.relu(layer(hidden))
        found: torch.Tensor = self.last(hidden)
        return found[:, 0]


def fit_predict(train: Sequence[Case], test: Sequence[Case], seed: int) -> NDArray[np.float64]:
    """Milliseconds, by the depth that does best on held-back training networks."""
    columns = type_columns(train)
    tried = (learn(partial(FlattenedNetwork, depth, columns), train, seed, RECIPE) for depth in DEPTHS)
    best = min(tried, key=lambda learned: learned.validation_error)
    return predict(best, test, train, RECIPE)

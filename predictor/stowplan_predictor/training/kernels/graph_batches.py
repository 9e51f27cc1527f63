"""Batches for the kernel graph network: rows, and the different sub-graphs that they ask about as one disjoint graph."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stowplan_predictor.kernels.members import codes, vocabulary
from stowplan_predictor.kernels.subgraphs import Joined
from stowplan_predictor.training.kernels.graph_networks import Inputs


@dataclass(frozen=True)
class Vocabulary:
    """Names that have codes: 0 stands for any other."""

    operators: tuple[str, ...]
    types: tuple[str, ...]
    runtime_types: tuple[str, ...]

    def runtime_codes(self, names: NDArray[np.str_]) -> NDArray[np.int64]:
        """Class of each name, from 0; -1 where it is unknown."""
        return codes(names.tolist(), vocabulary(self.runtime_types)) - 1


def pieces(starts: NDArray[np.int64], which: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the entries of some groups, group after group, and how many each has."""
    counts = starts[which + 1] - starts[which]
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[which] - (ends - counts), counts), counts


class Batches:
    """Rows as tensors over joined sub-graphs."""

    def __init__(self, joined: Joined, types: NDArray[np.str_], features: NDArray[np.float32], subgraph: NDArray[np.int64], words: Vocabulary) -> None:
        self._joined = joined
        self._nodes = torch.from_numpy(joined.nodes)
        self._operators = torch.from_numpy(codes(joined.operators, vocabulary(words.operators)))
        self._node_starts = np.searchsorted(joined.owner, np.arange(joined.count + 1))
        self._edge_starts = np.searchsorted(joined.owner[joined.edges[0]], np.arange(joined.count + 1))
        self._subgraph = subgraph
        self._types = torch.from_numpy(codes(types.tolist(), vocabulary(words.types)))
        self._features = torch.from_numpy(features)

    def beside(self, types: NDArray[np.str_], features: NDArray[np.float32], subgraph: NDArray[np.int64], words: Vocabulary) -> "Batches":
        """Other rows over the same sub-graphs."""
        return Batches(self._joined, types, features, subgraph, words)

    def inputs(self, index: NDArray[np.int64]) -> Inputs:
        """Some of the rows."""
        which, rows = np.unique(self._subgraph[index], return_inverse=True)
        nodes, node_counts = pieces(self._node_starts, which)
        edges, edge_counts = pieces(self._edge_starts, which)
        shift = (np.cumsum(node_counts) - node_counts) - self._node_starts[which]
        chosen = torch.from_numpy(index)
        return Inputs(
            nodes=self._nodes[torch.from_numpy(nodes)],
            operators=self._operators[torch.from_numpy(nodes)],
            owner=torch.from_numpy(np.repeat(np.arange(len(which)), node_counts)),
            edges=torch.from_numpy(self._joined.edges[:, edges] + np.repeat(shift, edge_counts)),
            subgraphs=torch.zeros(len(which), dtype=torch.int64),
            rows=torch.from_numpy(rows.reshape(-1)),
            types=self._types[chosen],
            features=self._features[chosen],
        )

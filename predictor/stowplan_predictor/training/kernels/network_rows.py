"""Measured networks as sums of kernels: what a kernel model's answers have to add up to, profile or not.

A profile tells each kernel's time but is often disturbed; the time of the whole network is measured far better, and for networks that nobody profiled too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.subgraphs import Joined
from stowplan_predictor.training.data.samples import Sample

_ISOLATED = "isolated"


@dataclass(frozen=True)
class NetworkRows:
    """Kernels of networks on slices, kernels that are alike merged, network after network."""

    types: NDArray[np.str_]
    """Of each kernel row."""
    features: NDArray[np.float32]
    subgraph: NDArray[np.int64]
    count: NDArray[np.float64]
    """Kernels that a row stands for."""
    starts: NDArray[np.int64]
    """(networks + 1,) first row of each network."""
    truth_ms: NDArray[np.float64]
    """(networks,)"""
    kernels: NDArray[np.float64]
    """(networks,) number of kernels."""
    threads: NDArray[np.int64]
    families: NDArray[np.str_]
    splits: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.truth_ms)


def network_rows(samples: Sequence[Sample], joined: Joined) -> NetworkRows | None:
    """Every network on every slice of whole cores that it was measured on; None where there is none.

    Args:
        samples: the samples that were joined, in that order.
        joined: their sub-graphs.
    """
    types, features, subgraph, counts, sizes = [], [], [], [], []
    facts: list[tuple[float, int, int, str, str]] = []
    for sample, places in zip(samples, joined.places, strict=True):
        for measured in sample.measured.values():
            if not measured.visits or measured.slice_.fractional or sample.split == _ISOLATED:
                continue
            keys = np.array([row.tobytes() + place.tobytes() for row, place in zip(measured.features, places, strict=True)], dtype=object)
            _, first, count = np.unique(keys, return_index=True, return_counts=True)
            types.append(np.array([str(sample.work.types[index]) for index in first]))
            features.append(measured.features[first])
            subgraph.append(places[first])
            counts.append(count.astype(np.float64))
            sizes.append(len(first))
            facts.append((measured.truth_ms, len(places), measured.slice_.threads, sample.family, sample.split))
    if not facts:
        return None
    truth, kernels, threads, families, splits = zip(*facts, strict=True)
    return NetworkRows(
        types=np.concatenate(types),
        features=np.concatenate(features),
        subgraph=np.concatenate(subgraph),
        count=np.concatenate(counts),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        truth_ms=np.array(truth),
        kernels=np.array(kernels, dtype=np.float64),
        threads=np.array(threads, dtype=np.int64),
        families=np.array(families),
        splits=np.array(splits),
    )

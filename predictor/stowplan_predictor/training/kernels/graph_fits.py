"""Fitting kernel graph networks: one fit trains two networks that hold out different families; their mean is served, so that every family is learned from by
one of them at least, and the errors on held-out families say how far to trust them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from stowplan_predictor.kernels.members import GRAPH, MemberTable
from stowplan_predictor.training.kernels.graph_batches import Vocabulary
from stowplan_predictor.training.kernels.graph_networks import to_model
from stowplan_predictor.training.kernels.graph_trainings import Training, parts_of
from stowplan_predictor.training.kernels.network_rows import NetworkRows
from stowplan_predictor.training.kernels.rows import KernelRows

# An operator or kernel type seen in fewer rows counts as unknown: its embedding would stay where chance put it.
_LEAST_SEEN: Final = 10
# Steps of one network: a fold's two networks take about two minutes.
STEPS: Final = 1200


@dataclass(frozen=True)
class GraphFit:
    """Members of a bundle, absolute log errors of held-out families with their kernel types, and the curves."""

    tables: tuple[MemberTable, ...]
    files: Mapping[str, bytes]
    error_types: NDArray[np.str_]
    errors: NDArray[np.float64]
    curves: Mapping[str, tuple[float, ...]]


def _seen(names: NDArray[np.str_], least: int) -> tuple[str, ...]:
    found, counts = np.unique(names, return_counts=True)
    return tuple(str(name) for name, count in zip(found, counts, strict=True) if count >= least and name)


def fit_graphs(
    rows: KernelRows, sums: NetworkRows | None, seed: int, *, raw: bool = False, networks: int = 2, steps: int | None = None, name: str = "gnn"
) -> GraphFit:
    """Trains the networks of one system; the same rows and seed give the same networks.

    Args:
        rows: to learn from; of at least two families.
        sums: whole networks to learn from, whose sub-graphs are among those joined in `rows`; None for kernels alone.
        seed: of weights and batches.
        raw: predict milliseconds instead of the log ratio.
        networks: how many, each with other families held out.
        steps: of the optimizer, each network; STEPS where not given.
        name: of the system, for files and curves.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    words = Vocabulary(_seen(np.array(rows.joined.operators), _LEAST_SEEN), _seen(rows.types, _LEAST_SEEN), _seen(rows.runtime_types, 1))
    tables, files, kinds, errors, curves = [], {}, [], [], {}
    for number in range(networks):
        parts = parts_of(rows, sums, number, max(5, networks))
        training = Training(rows, sums, words, parts, seed + number, raw=raw, steps=steps or STEPS)
        curves[f"{name}-{number}"] = training.run()
        errors.append(training.held_errors())
        kinds.append(rows.types[parts.stop])
        path = f"kernels/{name}-{number}.onnx"
        files[path] = to_model(training.network, training.batches.inputs(np.arange(min(64, len(rows)))))
        tables.append(MemberTable(GRAPH, {"": path}, 1.0, words.types, words.operators, words.runtime_types))
    return GraphFit(tuple(tables), files, np.concatenate(kinds), np.concatenate(errors), curves)

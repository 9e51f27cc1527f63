"""Fitting kernel graph networks: batches of different sub-graphs, two losses, early stopping on families held out.

One fit trains two networks that hold out different families; their mean is served, so that every family is learned from by one of them at least, and the
errors on held-out families say how far to trust them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.members import GRAPH, MemberTable, codes, vocabulary
from stowplan_predictor.training.graph_networks import Inputs, KernelNetwork, Shape, to_model
from stowplan_predictor.training.kernel_rows import KernelRows

_ROOFLINE: Final = FEATURES.index("log_roofline_ms")
# An operator or kernel type seen in fewer rows counts as unknown: its embedding would stay where chance put it.
_LEAST_SEEN: Final = 10
_BATCH: Final = 1024
# Steps of one network: a fold's two networks take about two minutes on two cores.
STEPS: Final = 1000
_LOOKS: Final = 20
_PEAK_RATE: Final = 3e-3
_DECAY: Final = 1e-4
# Of the type loss beside the latency loss.
_TYPE_WEIGHT: Final = 0.1
# Where absolute errors become squared ones: below this, a log error is the noise of the measurement.
_NOISE_LOG: Final = 0.05


@dataclass(frozen=True)
class GraphFit:
    """Members of a bundle, absolute log errors of held-out families with their kernel types, and the curves."""

    tables: tuple[MemberTable, ...]
    files: Mapping[str, bytes]
    error_types: NDArray[np.str_]
    errors: NDArray[np.float64]
    curves: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class _Vocabulary:
    operators: tuple[str, ...]
    types: tuple[str, ...]
    runtime_types: tuple[str, ...]


def _seen(names: NDArray[np.str_], least: int) -> tuple[str, ...]:
    found, counts = np.unique(names, return_counts=True)
    return tuple(str(name) for name, count in zip(found, counts, strict=True) if count >= least and name)


class _Batches:
    """Rows as tensors, cut into batches with the sub-graphs that they ask about."""

    def __init__(self, rows: KernelRows, words: _Vocabulary) -> None:
        joined = rows.joined
        self.nodes = torch.from_numpy(joined.nodes)
        self.operators = torch.from_numpy(codes(joined.operators, vocabulary(words.operators)))
        self.edges = joined.edges
        self.node_starts = np.searchsorted(joined.owner, np.arange(joined.count + 1))
        self.edge_starts = np.searchsorted(joined.owner[joined.edges[0]], np.arange(joined.count + 1))
        self.subgraph = rows.subgraph
        self.types = torch.from_numpy(codes(rows.types.tolist(), vocabulary(words.types)))
        self.features = torch.from_numpy(rows.features)
        self.target = torch.from_numpy(rows.log_ratio.astype(np.float32))
        self.weight = torch.from_numpy((rows.weight / rows.weight.mean()).astype(np.float32))
        self.runtime = torch.from_numpy(codes(rows.runtime_types.tolist(), vocabulary(words.runtime_types)) - 1)
        """-1 where unknown: it teaches no type."""

    @staticmethod
    def _pieces(starts: NDArray[np.int64], which: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the entries of some sub-graphs, and how many each has."""
        counts = starts[which + 1] - starts[which]
        ends = np.cumsum(counts)
        return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[which] - (ends - counts), counts), counts

    def inputs(self, index: NDArray[np.int64]) -> Inputs:
        which, rows = np.unique(self.subgraph[index], return_inverse=True)
        nodes, node_counts = self._pieces(self.node_starts, which)
        edges, edge_counts = self._pieces(self.edge_starts, which)
        shift = (np.cumsum(node_counts) - node_counts) - self.node_starts[which]
        chosen = torch.from_numpy(index)
        return Inputs(
            nodes=self.nodes[torch.from_numpy(nodes)],
            operators=self.operators[torch.from_numpy(nodes)],
            owner=torch.from_numpy(np.repeat(np.arange(len(which)), node_counts)),
            edges=torch.from_numpy(self.edges[:, edges] + np.repeat(shift, edge_counts)),
            subgraphs=torch.zeros(len(which), dtype=torch.int64),
            rows=torch.from_numpy(rows.reshape(-1)),
            types=self.types[chosen],
            features=self.features[chosen],
        )


def held_families(rows: KernelRows, part: int, parts: int) -> NDArray[np.bool_]:
    """Rows of every `parts`-th family, beginning at `part`: families in the order of their names, each split by itself."""
    held = np.zeros(len(rows), dtype=np.bool_)
    for split in np.unique(rows.splits):
        families = np.unique(rows.families[rows.splits == split])
        if len(families) > 1:
            held |= (rows.splits == split) & np.isin(rows.families, families[part::parts])
    return held


def _predict(network: KernelNetwork, batches: _Batches, index: NDArray[np.int64]) -> NDArray[np.float64]:
    network.eval()
    with torch.no_grad():
        found = [network(*batches.inputs(piece).tuple())[0].reshape(-1) for piece in np.array_split(index, -(-len(index) // 8192))]
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64)


def _losses(network: KernelNetwork, batches: _Batches, index: NDArray[np.int64], milliseconds: torch.Tensor) -> torch.Tensor:
    chosen = torch.from_numpy(index)
    weight, runtime = batches.weight[chosen], batches.runtime[chosen]
    found, scores = network.answers(batches.inputs(index))
    if network.shape.raw:
        # Root mean square of milliseconds, as the paper's.
        latency = torch.sqrt(torch.mean((found.reshape(-1) - milliseconds[chosen]) ** 2)) / network.spread
    else:
        latency = torch.mean(weight * functional.smooth_l1_loss(found.reshape(-1), batches.target[chosen], beta=_NOISE_LOG, reduction="none"))
    known = runtime >= 0
    kinds = functional.cross_entropy(scores[known], runtime[known]) if bool(known.any()) else torch.zeros(())
    return latency + _TYPE_WEIGHT * kinds


def _train(rows: KernelRows, words: _Vocabulary, held: NDArray[np.bool_], seed: int, *, raw: bool, steps: int) -> tuple[KernelNetwork, _Batches, list[float]]:
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    learn, stop = np.flatnonzero(~held), np.flatnonzero(held)
    ms = np.exp(rows.log_ratio + rows.features[:, _ROOFLINE]).astype(np.float32)
    target = ms[learn].astype(np.float64) if raw else rows.log_ratio[learn]
    shape = Shape(len(words.operators) + 1, len(words.types) + 1, max(1, len(words.runtime_types)), raw=raw)
    network = KernelNetwork(shape, rows.joined.nodes, rows.features[learn], float(target.mean()), float(max(target.std(), 1e-6)))
    batches = _Batches(rows, words)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_PEAK_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=steps, pct_start=0.15)
    best, kept, curve = np.inf, {name: value.clone() for name, value in network.state_dict().items()}, []
    order = generator.permutation(learn)
    at = 0
    for step in range(steps):
        if at + _BATCH > len(order):
            order, at = generator.permutation(learn), 0
        network.train()
        optimizer.zero_grad()
        loss = _losses(network, batches, order[at : at + _BATCH], torch.from_numpy(ms))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        at += _BATCH
        if (step + 1) % max(1, steps // _LOOKS) == 0:
            errors = np.abs(_predict(network, batches, stop) - rows.log_ratio[stop])
            curve.append(float(np.average(errors, weights=rows.weight[stop])))
            if curve[-1] < best:
                best, kept = curve[-1], {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network, batches, curve


def fit_graphs(rows: KernelRows, seed: int, *, raw: bool = False, networks: int = 2, steps: int | None = None, name: str = "gnn") -> GraphFit:
    """Trains the networks of one system; the same rows and seed give the same networks.

    Args:
        rows: to learn from; of at least two families.
        seed: of weights and batches.
        raw: predict milliseconds instead of the log ratio.
        networks: how many, each with other families held out.
        steps: of the optimizer, each network; STEPS where not given.
        name: of the system, for files and curves.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    words = _Vocabulary(
        _seen(np.array(rows.joined.operators), _LEAST_SEEN), _seen(rows.types, _LEAST_SEEN), _seen(rows.runtime_types, 1)
    )  # fmt: skip
    tables, files, kinds, errors, curves = [], {}, [], [], {}
    for number in range(networks):
        held = held_families(rows, number, max(5, networks))
        network, batches, curve = _train(rows, words, held, seed + number, raw=raw, steps=steps or STEPS)
        index = np.flatnonzero(held)
        errors.append(np.abs(_predict(network, batches, index) - rows.log_ratio[index]))
        kinds.append(rows.types[index])
        curves[f"{name}-{number}"] = tuple(curve)
        path = f"kernels/{name}-{number}.onnx"
        files[path] = to_model(network, batches.inputs(np.arange(min(64, len(rows)))))
        tables.append(MemberTable(GRAPH, {"": path}, 1.0, words.types, words.operators, words.runtime_types))
    return GraphFit(tuple(tables), files, np.concatenate(kinds), np.concatenate(errors), curves)

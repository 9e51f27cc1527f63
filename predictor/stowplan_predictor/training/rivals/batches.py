"""Cases as tensors: the graphs of a batch side by side, each followed by all slices it is asked about, so that a graph is encoded once for all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from stowplan_predictor.training.harness.cases import Case, log_truths
from stowplan_predictor.training.rivals.graph_tensors import GraphTensor, graph_tensors, slice_features

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scales:
    """Centre and spread of every feature over the training set, and the line that latencies lie around."""

    node_mean: Vector
    node_std: Vector
    context_mean: Vector
    context_std: Vector
    line: Vector
    """(context features + 1,): log-linear regression of the latency on the scaled context; its constant last."""
    spread: float
    """Standard deviation of log(latency) around that line."""

    def scaled(self, context: Vector) -> Vector:
        """Context as networks see it."""
        return np.asarray((context - self.context_mean) / self.context_std, dtype=np.float32)

    def on_line(self, context: Vector) -> Vector:
        """(cases,) log-milliseconds that the line says."""
        return np.asarray(self.scaled(context) @ self.line[:-1] + self.line[-1], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Cases by graph, features not yet scaled."""

    graphs: tuple[GraphTensor, ...]
    positions: tuple[NDArray[np.int64], ...]
    """Of each graph: which cases are its own."""
    context: Vector
    """(cases, TOTALS and SLICE_FEATURES)."""
    log_ms: Vector | None
    """(cases,); None where they are only asked."""
    weights: Vector
    """(cases,)"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some graphs and their cases, scaled. `torch` tensors."""

    graphs: tuple[GraphTensor, ...]
    nodes: torch.Tensor
    """(nodes of all graphs, NODE_FEATURES)"""
    types: torch.Tensor
    """(nodes,)"""
    edges: torch.Tensor
    """(2, edges), numbered through all graphs."""
    graph_of_node: torch.Tensor
    """(nodes,)"""
    graph_of_case: torch.Tensor
    """(cases,)"""
    context: torch.Tensor
    """(cases, context features)"""
    target: torch.Tensor
    """(cases,): how far the logarithm of the latency lies above the line, in spreads; zeros where it is asked."""
    weights: torch.Tensor
    """(cases,)"""
    positions: NDArray[np.int64]
    """Which cases of the prepared ones these are."""


def _weights(cases: Sequence[Case]) -> Vector:
    """A few hundred published networks stand against thousands of random ones: each kind counts half of what its number says (weights ~ 1 / sqrt(n))."""
    splits = np.array([case.sample.split for case in cases])
    weights = np.ones(len(cases), dtype=np.float32)
    for split in np.unique(splits):
        own = splits == split
        weights[own] = own.sum() ** -0.5
    return np.asarray(weights / weights.mean(), dtype=np.float32)


def prepare(cases: Sequence[Case], *, learn: bool) -> Prepared:
    """Groups cases by graph. `learn`: with their measured latencies."""
    rows: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        rows.setdefault(case.sample.name, []).append(index)
    chosen = [cases[own[0]].sample for own in rows.values()]
    graphs = graph_tensors(chosen)
    totals = {sample.name: graph.totals for sample, graph in zip(chosen, graphs, strict=True)}
    context = np.array([np.concatenate([totals[case.sample.name], slice_features(case.measured.slice_)]) for case in cases], dtype=np.float32)
    log_ms = log_truths(cases).astype(np.float32) if learn else None
    positions = tuple(np.array(own, dtype=np.int64) for own in rows.values())
    return Prepared(tuple(graphs), positions, context, log_ms, _weights(cases))


def _spread(values: Vector) -> Vector:
    found = values.std(axis=0)
    # What does not vary says nothing, and must not be blown up where it does vary in the test set.
    return np.asarray(np.where(found < 1e-3, 1.0, found), dtype=np.float32)


def scales(prepared: Prepared) -> Scales:
    """Of a training set."""
    assert prepared.log_ms is not None  # noqa: S101 - made of training cases only
    nodes = np.concatenate([graph.nodes for graph in prepared.graphs])
    found = Scales(nodes.mean(axis=0), _spread(nodes), prepared.context.mean(axis=0), _spread(prepared.context), np.zeros(1, dtype=np.float32), 1.0)
    design = np.column_stack([found.scaled(prepared.context), np.ones(len(prepared.context), dtype=np.float32)]) * np.sqrt(prepared.weights)[:, None]
    # A small penalty: totals of a graph go with each other.
    penalty = 1e-2 * len(design) * np.eye(design.shape[1], dtype=np.float32)
    penalty[-1, -1] = 0.0
    line = np.linalg.solve(design.T @ design + penalty, design.T @ (prepared.log_ms * np.sqrt(prepared.weights))).astype(np.float32)
    found = replace(found, line=line)
    return replace(found, spread=max(float((prepared.log_ms - found.on_line(prepared.context)).std()), 1e-3))


def batch(prepared: Prepared, chosen: Sequence[int], by: Scales) -> Batch:
    """The graphs numbered `chosen`, with all their cases."""
    graphs = tuple(prepared.graphs[index] for index in chosen)
    sizes = np.array([len(graph.types) for graph in graphs], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    positions = np.concatenate([prepared.positions[index] for index in chosen])
    of_case = np.repeat(np.arange(len(graphs)), [len(prepared.positions[index]) for index in chosen])
    context = prepared.context[positions]
    target = np.zeros(len(positions)) if prepared.log_ms is None else (prepared.log_ms[positions] - by.on_line(context)) / by.spread
    return Batch(
        graphs=graphs,
        nodes=torch.from_numpy((np.concatenate([graph.nodes for graph in graphs]) - by.node_mean) / by.node_std),
        types=torch.from_numpy(np.concatenate([graph.types for graph in graphs])),
        edges=torch.from_numpy(np.concatenate([graph.edges + offset for graph, offset in zip(graphs, offsets, strict=True)], axis=1)),
        graph_of_node=torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes)),
        graph_of_case=torch.from_numpy(of_case),
        context=torch.from_numpy(by.scaled(context)),
        target=torch.from_numpy(np.asarray(target, dtype=np.float32)),
        weights=torch.from_numpy(prepared.weights[positions]),
        positions=positions,
    )


def epochs(prepared: Prepared, by: Scales, graphs_a_batch: int, largest: int, generator: np.random.Generator | None) -> Iterator[Batch]:
    """All graphs once, in batches of similar sizes, so that padding and attention stay small; shuffled by `generator` where there is one.

    Args:
        prepared: the cases.
        by: scales of the training set.
        graphs_a_batch: at most.
        largest: sum of the squared operator counts in a batch, at most (one graph beyond it gets a batch of its own).
        generator: shuffles graphs of similar size, and the batches.
    """
    sizes = np.array([len(graph.types) for graph in prepared.graphs])
    # Sizes jittered by a fifth: each epoch makes other batches of neighbours.
    keys = sizes * generator.uniform(0.8, 1.25, len(sizes)) if generator is not None else sizes.astype(np.float64)
    groups: list[list[int]] = [[]]
    for index in np.argsort(keys, kind="stable").tolist():
        longest = max(int(sizes[index]), *(int(sizes[other]) for other in groups[-1])) if groups[-1] else 0
        if groups[-1] and (len(groups[-1]) == graphs_a_batch or (len(groups[-1]) + 1) * longest**2 > largest):
            groups.append([])
        groups[-1].append(index)
    order = generator.permutation(len(groups)) if generator is not None else np.arange(len(groups))
    for number in order:
        yield batch(prepared, groups[number], by)

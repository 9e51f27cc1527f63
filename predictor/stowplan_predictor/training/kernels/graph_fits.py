"""Fitting kernel graph networks: batches of different sub-graphs, three losses, early stopping on families held out.

The losses: each profiled kernel's latency, the type of kernel that the runtime ran, and (beyond the paper) the time of whole networks, to which the
kernels and a learned cost of dispatching them have to add up. One fit trains two networks that hold out different families; their mean is served, so
that every family is learned from by one of them at least, and the errors on held-out families say how far to trust them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.members import GRAPH, MemberTable
from stowplan_predictor.training.kernels.graph_batches import Batches, Vocabulary, pieces
from stowplan_predictor.training.kernels.graph_networks import KernelNetwork, Shape, to_model
from stowplan_predictor.training.kernels.network_rows import NetworkRows
from stowplan_predictor.training.kernels.rows import KernelRows

_ROOFLINE: Final = FEATURES.index("log_roofline_ms")
# An operator or kernel type seen in fewer rows counts as unknown: its embedding would stay where chance put it.
_LEAST_SEEN: Final = 10
_BATCH: Final = 768
# Networks in a step, half of them published ones.
_NETWORKS: Final = 20
# Steps of one network: a fold's two networks take about two minutes.
STEPS: Final = 1200
_LOOKS: Final = 20
_PEAK_RATE: Final = 3e-3
_DECAY: Final = 1e-4
# Of the other losses beside the kernels' latency loss.
_TYPE_WEIGHT: Final = 0.1
_NETWORK_WEIGHT: Final = 0.3
# Where squared errors become absolute ones: below this, a log error is the noise of the measurement.
_NOISE_LOG: Final = 0.1
# Where dispatching starts from: a third of a microsecond a kernel, ten a run; both are learned.
_DISPATCH_MS: Final = (0.0003, 0.01)
_PUBLISHED: Final = "zoo"
_ISOLATED: Final = "isolated"


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


def held_names(splits: NDArray[np.str_], families: NDArray[np.str_], part: int, parts: int) -> NDArray[np.str_]:
    """Every `parts`-th family, beginning at `part`, in the order of their names, each split by itself.

    Isolated kernels bear the families of the networks that they were cut out of, and change sides with them.
    """
    held = [np.unique(families[splits == split]) for split in np.unique(splits) if split != _ISOLATED]
    return np.concatenate([names[part::parts] if len(names) > 1 else names[:0] for names in held])


def held_families(rows: KernelRows, part: int, parts: int) -> NDArray[np.bool_]:
    """Rows of `held_names`."""
    return np.isin(rows.families, held_names(rows.splits, rows.families, part, parts))


class _Dispatch(nn.Module):
    """What a run costs beside its kernels: per kernel and per run, for one thread and for more."""

    def __init__(self) -> None:
        super().__init__()
        self.log_ms = nn.Parameter(torch.log(torch.tensor([_DISPATCH_MS, _DISPATCH_MS])))

    def forward(self, kernels: Tensor, threads: Tensor) -> Tensor:
        cost = torch.exp(self.log_ms)[torch.clamp(threads - 1, 0, 1)]
        return kernels * cost[:, 0] + cost[:, 1]


class _Sums:
    """Networks as tensors."""

    def __init__(self, rows: NetworkRows, words: Vocabulary, joined_batches: Batches) -> None:
        self.rows = rows
        self.batches = joined_batches.beside(rows.types, rows.features, rows.subgraph, words)
        self.count = torch.from_numpy(rows.count.astype(np.float32))
        self.kernels = torch.from_numpy(rows.kernels.astype(np.float32))
        self.threads = torch.from_numpy(rows.threads)
        self.log_truth = torch.from_numpy(np.log(rows.truth_ms).astype(np.float32))

    def errors(self, network: KernelNetwork, dispatch: _Dispatch, which: NDArray[np.int64]) -> Tensor:
        """log(predicted / measured) of some networks."""
        index, sizes = pieces(self.rows.starts, which)
        inputs = self.batches.inputs(index)
        ratio = network.answers(inputs)[0].reshape(-1)
        # Held within reason before the exponential: a first step's answer may be anything.
        ms = self.count[torch.from_numpy(index)] * torch.exp(torch.clamp(ratio, -8.0, 12.0) + inputs.features[:, _ROOFLINE])
        total = torch.zeros(len(which)).index_add(0, torch.from_numpy(np.repeat(np.arange(len(which)), sizes)), ms)
        chosen = torch.from_numpy(which)
        return torch.log(total + dispatch(self.kernels[chosen], self.threads[chosen])) - self.log_truth[chosen]


class _Draws:
    """Indices in random order, again and again."""

    def __init__(self, index: NDArray[np.int64], generator: np.random.Generator) -> None:
        self._index, self._generator = index, generator
        self._order, self._at = generator.permutation(index), 0

    def take(self, count: int) -> NDArray[np.int64]:
        if self._at + count > len(self._order):
            self._order, self._at = self._generator.permutation(self._index), 0
        found = self._order[self._at : self._at + count]
        self._at += count
        return found


def _predict(network: KernelNetwork, batches: Batches, index: NDArray[np.int64]) -> NDArray[np.float64]:
    network.eval()
    with torch.no_grad():
        found = [network(*batches.inputs(piece).tuple())[0].reshape(-1) for piece in np.array_split(index, -(-len(index) // 8192))]
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64)


def _kernel_loss(network: KernelNetwork, batches: Batches, rows: "_Targets", index: NDArray[np.int64]) -> Tensor:
    chosen = torch.from_numpy(index)
    runtime = rows.runtime[chosen]
    found, scores = network.answers(batches.inputs(index))
    if network.shape.raw:
        # Root mean square of milliseconds, as the paper's.
        latency = torch.sqrt(torch.mean((found.reshape(-1) - rows.milliseconds[chosen]) ** 2)) / network.spread
    else:
        losses = functional.smooth_l1_loss(found.reshape(-1), rows.log_ratio[chosen], beta=_NOISE_LOG, reduction="none")
        latency = torch.mean(rows.weight[chosen] * losses)
    known = runtime >= 0
    kinds = functional.cross_entropy(scores[known], runtime[known]) if bool(known.any()) else torch.zeros(())
    return latency + _TYPE_WEIGHT * kinds


class _Targets:
    """What profiled kernels took, and what ran."""

    def __init__(self, rows: KernelRows, words: Vocabulary) -> None:
        self.log_ratio = torch.from_numpy(rows.log_ratio.astype(np.float32))
        self.milliseconds = torch.from_numpy(np.exp(rows.log_ratio + rows.features[:, _ROOFLINE]).astype(np.float32))
        self.weight = torch.from_numpy((rows.weight / rows.weight.mean()).astype(np.float32))
        self.runtime = torch.from_numpy(words.runtime_codes(rows.runtime_types))


@dataclass(frozen=True)
class _Parts:
    """Rows and networks that are learned from, and those that training stops by."""

    learn: NDArray[np.int64]
    stop: NDArray[np.int64]
    published: NDArray[np.int64]
    generated: NDArray[np.int64]
    stop_networks: NDArray[np.int64]


def _parts(rows: KernelRows, sums: NetworkRows | None, part: int, parts: int) -> _Parts:
    splits = rows.splits if sums is None else np.concatenate([rows.splits, sums.splits])
    families = rows.families if sums is None else np.concatenate([rows.families, sums.families])
    held = held_names(splits, families, part, parts)
    own = np.isin(rows.families, held)
    nothing = np.zeros(0, dtype=np.int64)
    if sums is None:
        return _Parts(np.flatnonzero(~own), np.flatnonzero(own), nothing, nothing, nothing)
    stopped, published = np.isin(sums.families, held), sums.splits == _PUBLISHED
    return _Parts(
        np.flatnonzero(~own), np.flatnonzero(own), np.flatnonzero(published & ~stopped), np.flatnonzero(~published & ~stopped), np.flatnonzero(stopped)
    )  # fmt: skip


class _Training:
    """One network on its way."""

    def __init__(self, rows: KernelRows, sums: NetworkRows | None, words: Vocabulary, parts: _Parts, seed: int, *, raw: bool, steps: int) -> None:
        torch.manual_seed(seed)
        generator = np.random.default_rng(seed)
        self.rows, self.parts, self.steps = rows, parts, steps
        self.targets = _Targets(rows, words)
        target = (self.targets.milliseconds if raw else self.targets.log_ratio)[torch.from_numpy(parts.learn)]
        shape = Shape(len(words.operators) + 1, len(words.types) + 1, max(1, len(words.runtime_types)), raw=raw)
        center, spread = float(target.mean()), float(torch.clamp(target.std(), min=1e-6))
        self.network = KernelNetwork(shape, rows.joined.nodes, rows.features[parts.learn], center, spread)
        self.dispatch = _Dispatch()
        self.batches = Batches(rows.joined, rows.types, rows.features, rows.subgraph, words)
        self.sums = None if sums is None else _Sums(sums, words, self.batches)
        self.kernels = _Draws(parts.learn, generator)
        self.networks = [_Draws(index, generator) for index in (parts.published, parts.generated) if len(index)]
        own = {"params": list(self.network.parameters()), "weight_decay": _DECAY}
        costs = {"params": list(self.dispatch.parameters()), "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW([own, costs], lr=_PEAK_RATE)
        # Two numbers for each count of threads have a long way to go, and nothing to spoil.
        rates = [_PEAK_RATE, 10 * _PEAK_RATE]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rates, total_steps=steps, pct_start=0.15)

    def step(self) -> None:
        self.network.train()
        self.optimizer.zero_grad()
        loss = _kernel_loss(self.network, self.batches, self.targets, self.kernels.take(_BATCH))
        if self.sums is not None and self.networks:
            which = np.concatenate([draws.take(_NETWORKS // len(self.networks)) for draws in self.networks])
            errors = self.sums.errors(self.network, self.dispatch, which)
            loss = loss + _NETWORK_WEIGHT * functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=_NOISE_LOG)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()

    def held_errors(self) -> NDArray[np.float64]:
        """Absolute log error of every held-out kernel."""
        return np.abs(_predict(self.network, self.batches, self.parts.stop) - self.rows.log_ratio[self.parts.stop])

    def held_cost(self) -> float:
        """Weighted mean log error of held-out kernels, plus that of held-out networks."""
        cost = float(np.average(self.held_errors(), weights=self.rows.weight[self.parts.stop]))
        if self.sums is not None and len(self.parts.stop_networks):
            with torch.no_grad():
                cost += float(self.sums.errors(self.network, self.dispatch, self.parts.stop_networks).abs().mean())
        return cost

    def run(self) -> tuple[float, ...]:
        """Trains; keeps the weights of the least cost on held-out families. Returns the curve."""
        best, kept, curve = np.inf, None, []
        for step in range(self.steps):
            self.step()
            if (step + 1) % max(1, self.steps // _LOOKS) == 0:
                curve.append(self.held_cost())
                if curve[-1] < best:
                    best, kept = curve[-1], {name: value.clone() for name, value in self.network.state_dict().items()}
        if kept is not None:
            self.network.load_state_dict(kept)
        return tuple(curve)


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
        parts = _parts(rows, sums, number, max(5, networks))
        training = _Training(rows, sums, words, parts, seed + number, raw=raw, steps=steps or STEPS)
        curves[f"{name}-{number}"] = training.run()
        errors.append(training.held_errors())
        kinds.append(rows.types[parts.stop])
        path = f"kernels/{name}-{number}.onnx"
        files[path] = to_model(training.network, training.batches.inputs(np.arange(min(64, len(rows)))))
        tables.append(MemberTable(GRAPH, {"": path}, 1.0, words.types, words.operators, words.runtime_types))
    return GraphFit(tuple(tables), files, np.concatenate(kinds), np.concatenate(errors), curves)
